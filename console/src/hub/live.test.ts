import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { QueryClient } from '@tanstack/react-query';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ErrorInfoSchema, Fleet } from '../gen/tidemark/admin/v1/admin_pb';
import { makeClients } from './client';
import { faultOf } from './fault';
import { currentLive, missed, heard } from './live';
import { throttle } from './throttle';
import { staleKeys, watch } from './watch';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('watch', () => {
  it('has queries asked again as events come, and polls when the stream ends', async () => {
    const asked: string[] = [];
    const client = new QueryClient();
    vi.spyOn(client, 'invalidateQueries').mockImplementation(async (f) => {
      asked.push(JSON.stringify(f?.queryKey));
    });
    let opened = 0;
    const clients = makeClients(
      createRouterTransport(({ service }) => {
        service(Fleet, {
          async *watch() {
            if (opened++ > 0) throw new ConnectError('gone', Code.Unavailable);
            yield { kind: 'hello' };
            yield { kind: 'quarantine' };
          },
        });
      }),
    );
    const end = new AbortController();
    const done = watch((signal) => clients.fleet.watch({}, { signal }), client, end.signal);
    await vi.advanceTimersByTimeAsync(50);
    expect(asked).toContain('["quarantine"]');
    expect(currentLive().mode).toBe('polling');
    asked.length = 0;
    await vi.advanceTimersByTimeAsync(12_000);
    expect(asked.filter((k) => k === '["fleet"]').length).toBeGreaterThan(1);
    expect(opened).toBeGreaterThan(2);
    end.abort();
    await vi.advanceTimersByTimeAsync(30_000);
    await done;
  });
  it('knows which queries an event is about', () => {
    expect(staleKeys('device', 'd1')).toContainEqual(['device', 'd1']);
    expect(staleKeys('tick', '')).toEqual([['overview']]);
    expect(staleKeys('of a later hub', '')).toEqual([]);
  });
});

describe('throttle', () => {
  it('runs at once, and then at most as often as it takes', async () => {
    const f = vi.fn(async () => {});
    const ask = throttle(f, 1_000);
    for (let i = 0; i < 20; i++) ask('a');
    expect(f).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1_100);
    expect(f).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(f).toHaveBeenCalledTimes(2);
  });
});

describe('faults', () => {
  it('tell a hub that is away from one that says no', () => {
    expect(faultOf(new ConnectError('x', Code.Unknown, undefined, undefined, new TypeError('fetch'))).away).toBe(true);
    const no = new ConnectError('no such device', Code.NotFound, undefined, [{ desc: ErrorInfoSchema, value: { code: 'no-such-device', hint: 'look at the list' } }]);
    expect(faultOf(no)).toEqual({ code: 'no-such-device', text: 'No such device.', hint: 'Look at the list.', stale: false, away: false });
    const still = new ConnectError('the hub stands still', Code.Unavailable, undefined, [{ desc: ErrorInfoSchema, value: { code: 'behind', hint: '' } }]);
    expect(faultOf(still).away).toBe(false);
    expect(faultOf(new ConnectError('changed by Bo', Code.Aborted)).stale).toBe(true);
  });
  it('are over when the hub answers', () => {
    missed('x');
    expect(currentLive().mode).toBe('away');
    heard();
    expect(currentLive().mode).not.toBe('away');
  });
});
