export interface Change {
  name: string;
  before?: string;
  after?: string;
}

const MOST = 300;

/** changes lists the fields in which two JSON records differ; what is no record is told whole. */
export function changes(before: string, after: string): Change[] {
  const a = read(before);
  const b = read(after);
  if (!a || !b) return before === after ? [] : [{ name: 'record', before: cut(before), after: cut(after) }];
  const out: Change[] = [];
  for (const name of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
    const x = text(a[name]);
    const y = text(b[name]);
    if (x !== y) out.push({ name, before: x, after: y });
  }
  return out;
}

function read(s: string): Record<string, unknown> | undefined {
  if (s === '') return {};
  try {
    const v: unknown = JSON.parse(s);
    return typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function text(v: unknown): string | undefined {
  if (v === undefined) return undefined;
  return cut(typeof v === 'string' ? v : JSON.stringify(v));
}

function cut(s: string): string | undefined {
  if (s === '') return undefined;
  return s.length > MOST ? s.slice(0, MOST) + '…' : s;
}
