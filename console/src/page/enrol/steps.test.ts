import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, it } from 'vitest';
import { DeviceSchema, DeviceState } from '../../gen/tidemark/admin/v1/admin_pb';
import { steps } from './steps';

const at = timestampFromMs(1e12);

it('tells how far a first download has come, as far as anybody knows', () => {
  const now = (download?: { sent: bigint; size: bigint }) =>
    steps(create(DeviceSchema, { state: DeviceState.ACTIVE, seen: at, behind: true, download })).find((s) => s.state === 'now')?.text;
  expect(now()).toBe('Downloads the rows of its scopes');
  expect(now({ sent: 2_500_000n, size: 0n })).toBe('Downloads the rows of its scopes: 2.5 MB so far');
  expect(now({ sent: 2_500_000n, size: 10_000_000n })).toBe('Downloads the rows of its scopes: 2.5 MB of 10.0 MB, 25 %');
});

it('is done when the device has all rows', () => {
  expect(steps(create(DeviceSchema, { state: DeviceState.ACTIVE, seen: at, progress: at })).every((s) => s.state === 'done')).toBe(true);
});
