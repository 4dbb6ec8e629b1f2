import { Code, ConnectError } from '@connectrpc/connect';
import { ErrorInfoSchema } from '../gen/tidemark/admin/v1/admin_pb';
import { isAway } from './transport';

/** A fault is an error as people read it: what happened, and what to do. */
export interface Fault {
  code: string; // the hub's own stable word, or Connect's
  text: string;
  hint: string;
  stale: boolean; // somebody else changed it since it was read
  away: boolean; // the hub did not answer
}

const hints: Partial<Record<Code, string>> = {
  [Code.PermissionDenied]: 'Ask an admin for the role, or do it with somebody who has it.',
  [Code.Unauthenticated]: 'Log in again.',
  [Code.ResourceExhausted]: 'Wait a little and try again.',
  [Code.NotFound]: 'It may have been removed or settled meanwhile. Look at the list again.',
  [Code.Aborted]: 'Look at what it is now; what you typed is kept.',
};

export function faultOf(e: unknown): Fault {
  const err = ConnectError.from(e);
  const info = err.findDetails(ErrorInfoSchema)[0];
  const away = isAway(err);
  if (away) {
    return { code: 'away', text: 'The hub does not answer.', hint: 'This page keeps trying; what you typed is kept.', stale: false, away };
  }
  return {
    code: info?.code || Code[err.code]?.toLowerCase() || 'unknown',
    text: sentence(err.rawMessage || 'The hub said no, without a reason.'),
    hint: info?.hint ? sentence(info.hint) : (hints[err.code] ?? ''),
    stale: err.code === Code.Aborted,
    away,
  };
}

function sentence(s: string): string {
  const t = s.trim();
  const up = t.charAt(0).toUpperCase() + t.slice(1);
  return /[.!?]$/.test(up) ? up : up + '.';
}
