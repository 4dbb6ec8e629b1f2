import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';

/** ms is a timestamp as milliseconds since 1970. */
export function ms(t: Timestamp): number {
  return Number(t.seconds) * 1000 + Math.floor(t.nanos / 1e6);
}

/** durationMs is a duration in milliseconds; 0 when there is none. */
export function durationMs(d: Duration | undefined): number {
  return d ? Number(d.seconds) * 1000 + d.nanos / 1e6 : 0;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** span tells a length of time in one or two units: "3 d 4 h", "12 min", "8 s". */
export function span(millis: number): string {
  const n = Math.abs(millis);
  if (n < SECOND) return `${Math.round(n)} ms`;
  if (n < MINUTE) return `${Math.floor(n / SECOND)} s`;
  if (n < HOUR) return `${Math.floor(n / MINUTE)} min`;
  if (n < DAY) return two(Math.floor(n / HOUR), 'h', Math.floor((n % HOUR) / MINUTE), 'min');
  if (n < 14 * DAY) return two(Math.floor(n / DAY), 'd', Math.floor((n % DAY) / HOUR), 'h');
  return `${Math.floor(n / DAY)} d`;
}

function two(a: number, ua: string, b: number, ub: string): string {
  return b === 0 ? `${a} ${ua}` : `${a} ${ua} ${b} ${ub}`;
}

/** ago tells how long ago t was: "just now", "12 min ago"; "in 3 h" when it is to come. */
export function ago(t: Timestamp | undefined, now: number): string {
  if (!t) return 'never';
  const d = now - ms(t);
  if (d < -5 * SECOND) return `in ${span(-d)}`;
  if (d < 5 * SECOND) return 'just now';
  return `${span(d)} ago`;
}

/** clock is a time of day, with the date when it is not today's. */
export function clock(millis: number, now: number = Date.now()): string {
  const d = new Date(millis);
  const hm = `${pad(d.getHours())}:${pad(d.getMinutes())}`;
  return sameDay(d, new Date(now)) ? hm : `${day(d)} ${hm}`;
}

/** full is the whole point in time, local, to the second. */
export function full(t: Timestamp | undefined): string {
  if (!t) return '';
  const d = new Date(ms(t));
  return `${day(d)} ${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}

function day(d: Date): string {
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
}
function sameDay(a: Date, b: Date): boolean {
  return day(a) === day(b);
}
function pad(n: number): string {
  return String(n).padStart(2, '0');
}

/** offset tells how far a clock is off; `hub's clock - device's`, so above 0 the device is behind. */
export function offset(d: Duration | undefined): string {
  if (!d) return '';
  const n = durationMs(d);
  if (Math.abs(n) < 2 * SECOND) return 'right';
  return n > 0 ? `${span(n)} slow` : `${span(n)} fast`;
}
