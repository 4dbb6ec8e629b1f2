import { Level } from '../gen/tidemark/admin/v1/admin_pb';

export type Tone = 'ok' | 'notice' | 'warning' | 'alarm';
export const tones: Tone[] = ['alarm', 'warning', 'notice', 'ok'];

export function toneOf(l: Level): Tone {
  switch (l) {
    case Level.ALARM:
      return 'alarm';
    case Level.WARNING:
      return 'warning';
    case Level.NOTICE:
      return 'notice';
    default:
      return 'ok';
  }
}

export function levelOf(tone: string): Level | undefined {
  return { ok: Level.OK, notice: Level.NOTICE, warning: Level.WARNING, alarm: Level.ALARM }[tone as Tone];
}
