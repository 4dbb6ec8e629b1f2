import { DeviceState, type Device } from '../../gen/tidemark/admin/v1/admin_pb';
import { bytes } from '../../format/number';

export interface Step {
  text: string;
  state: 'done' | 'now' | 'later';
}

/** steps is how far a device is on its way in: from the token to the last row of its first download. */
export function steps(d: Device): Step[] {
  const joined = d.state === DeviceState.ACTIVE;
  const called = joined && !!d.seen;
  const has = called && !d.behind && !!d.progress;
  const done = [true, joined, called, has];
  const now = done.indexOf(false);
  const texts = [
    'The token was made',
    joined ? 'It joined' : 'Waits for the device to join',
    called ? 'It called for its data' : 'Waits for its first call',
    has ? 'It has all rows of its scopes' : 'Downloads the rows of its scopes' + far(d),
  ];
  return texts.map((text, i) => ({ text, state: done[i] ? 'done' : i === now ? 'now' : 'later' }));
}

/** far is how far its download has come, as far as the hub knows. */
function far(d: Device): string {
  const { sent = 0n, size = 0n } = d.download ?? {};
  if (sent === 0n) return '';
  if (size === 0n) return `: ${bytes(sent)} so far`;
  return `: ${bytes(sent)} of ${bytes(size)}, ${(sent * 100n) / size} %`;
}
