import type { Device } from '../../gen/tidemark/admin/v1/admin_pb';
import { ms } from '../../format/time';

/** A verification that somebody asked for from this tab. */
export interface Round {
  since: number; // ms, the hub's clock
  ids: string[];
}
export type Stage = 'waits' | 'checks' | 'equal' | 'differs';

/** stage is how far a device is with a round: it waits for its call, checks, or has told. */
export function stage(d: Device, round: Round): Stage {
  const told = d.verified?.at;
  if (told && ms(told) >= round.since) return d.verified?.equal ? 'equal' : 'differs';
  return d.asked.includes('verify') || !d.connected ? 'waits' : 'checks';
}

export function tally(devices: Device[], round: Round): Record<Stage, number> {
  const out: Record<Stage, number> = { waits: 0, checks: 0, equal: 0, differs: 0 };
  for (const d of devices) if (round.ids.includes(d.id)) out[stage(d, round)]++;
  return out;
}
