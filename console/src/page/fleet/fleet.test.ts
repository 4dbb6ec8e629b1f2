import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { DeviceSchema, DeviceState, Level, OverviewResponseSchema } from '../../gen/tidemark/admin/v1/admin_pb';
import { stage, tally } from '../data/progress';
import { steps } from '../enrol/steps';
import { changes } from '../people/changes';
import { nextSort, readFilters, request } from './filters';
import { headline } from './headline';

describe('filters', () => {
  it('come from the address and go to the hub, without what is not known', () => {
    const f = readFilters(new URLSearchParams('q=till&level=alarm&level=bogus&state=active&sort=-unsafe&connected=yes'));
    expect(request(f, 't')).toEqual({ page: { pageSize: 1000, pageToken: 't' }, search: 'till', states: [DeviceState.ACTIVE], levels: [Level.ALARM], sort: '-unsafe', connectedOnly: true });
    expect(readFilters(new URLSearchParams('sort=bogus')).sort).toBe('');
  });
  it('a column’s head sorts, turns round, and lets go', () => {
    expect(['', 'name', '-name'].map((s) => nextSort(s, 'name'))).toEqual(['name', '-name', '']);
  });
});

describe('headline', () => {
  const say = (seconds: number, unsafeDevices: number, devices = 5) => headline(create(OverviewResponseSchema, { devices, unsafeDevices, oldestUnsafe: { seconds: BigInt(seconds) } }));
  it('says that all is safe only when it is', () => {
    expect(say(0, 0)).toMatchObject({ tone: 'ok', text: 'Everybody’s work is safe.' });
    expect(say(20, 1)).toMatchObject({ tone: 'ok', age: '20 s' });
    expect(say(0, 1).text).not.toMatch(/is safe\./);
    expect(say(0, 0, 0).text).toBe('No devices yet.');
  });
  it('grows graver with age', () => {
    expect([600, 7200, 90_000].map((s) => say(s, 1).tone)).toEqual(['notice', 'warning', 'alarm']);
  });
});

describe('progress', () => {
  const round = { since: 10_000, ids: ['a', 'b', 'c', 'd'] };
  const list = [
    create(DeviceSchema, { id: 'a', connected: true, verified: { at: { seconds: 11n }, equal: true } }),
    create(DeviceSchema, { id: 'b', connected: true, verified: { at: { seconds: 9n }, equal: true } }),
    create(DeviceSchema, { id: 'c', asked: 'verify' }),
    create(DeviceSchema, { id: 'd', connected: true, verified: { at: { seconds: 12n }, equal: false } }),
  ];
  it('counts only what was told since', () => {
    expect(list.map((d) => stage(d, round))).toEqual(['equal', 'checks', 'waits', 'differs']);
    expect(tally(list, round)).toEqual({ waits: 1, checks: 1, equal: 1, differs: 1 });
  });
  it('of a device on its way in', () => {
    const at = (d: object) => steps(create(DeviceSchema, d)).filter((s) => s.state === 'done').length;
    expect(at({ state: DeviceState.INVITED })).toBe(1);
    expect(at({ state: DeviceState.ACTIVE })).toBe(2);
    expect(at({ state: DeviceState.ACTIVE, seen: { seconds: 1n }, behind: true })).toBe(3);
    expect(at({ state: DeviceState.ACTIVE, seen: { seconds: 1n }, progress: { seconds: 1n } })).toBe(4);
  });
});

describe('changes of a record', () => {
  it('are the fields that differ', () => {
    expect(changes('{"name":"a","x":1}', '{"name":"b","x":1}')).toEqual([{ name: 'name', before: 'a', after: 'b' }]);
    expect(changes('', '{"n":1}')).toEqual([{ name: 'n', before: undefined, after: '1' }]);
    expect(changes('not json', 'x')).toHaveLength(1);
  });
});
