import { create, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ListDevicesRequestSchema } from '../gen/tidemark/admin/v1/admin_pb';
import { readFilters, request } from '../page/fleet/filters';
import { askAhead, fetchAhead, firstList } from './ahead';
import { hub } from './client';

const asked: string[] = [];
beforeEach(() => {
  asked.length = 0;
  vi.stubGlobal(
    'fetch',
    vi.fn(async (url: string, init?: RequestInit) => {
      asked.push(new URL(url).pathname.split('.v1.').at(-1)! + ' ' + ((init?.body as Uint8Array | undefined)?.length ?? 0));
      return new Response(new Uint8Array(), { headers: { 'Content-Type': 'application/proto' } });
    }),
  );
  document.documentElement.dataset.in = 'yes';
  window.location.hash = '#/fleet';
});
afterEach(() => vi.unstubAllGlobals());

describe('what is asked ahead', () => {
  it('is the very request that the fleet makes', () => {
    const m = create(ListDevicesRequestSchema, request(readFilters(new URLSearchParams()), ''));
    expect(toBinary(ListDevicesRequestSchema, m)).toEqual(firstList);
  });
  it('is asked once, and answers who asks the same', async () => {
    askAhead();
    expect(asked).toEqual(['Entrance/State 0', 'Fleet/Overview 0', 'Fleet/List 4']);
    await hub.entrance.state({});
    await hub.fleet.overview({});
    await hub.fleet.list(request(readFilters(new URLSearchParams()), ''));
    expect(asked).toHaveLength(3);
    await hub.fleet.overview({});
    expect(asked).toHaveLength(4);
  });
  it('answers nobody who asks for something else', async () => {
    askAhead();
    await hub.fleet.list(request(readFilters(new URLSearchParams('q=till')), ''));
    expect(asked).toHaveLength(4);
  });
  it('is nothing when nobody is in, and no list on another page', () => {
    window.location.hash = '#/data';
    askAhead();
    expect(asked).toHaveLength(2);
    document.documentElement.dataset.in = '';
    askAhead();
    expect(asked).toHaveLength(2);
  });
  it('is forgotten when it is old', async () => {
    vi.useFakeTimers();
    askAhead();
    vi.advanceTimersByTime(6_000);
    await fetchAhead(`${window.location.origin}/tidemark.admin.v1.Fleet/Overview`, { method: 'POST', body: new Uint8Array() });
    expect(asked).toHaveLength(4);
    vi.useRealTimers();
  });
});
