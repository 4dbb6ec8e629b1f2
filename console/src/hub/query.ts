import { QueryClient, keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Role } from '../gen/tidemark/admin/v1/admin_pb';
import { hub } from './client';
import { faultOf, type Fault } from './fault';
import { setHubTime } from './live';
import { ms } from '../format/time';
import { setCsrf } from './transport';

export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      // The stream says when something is stale; until then it is not.
      queries: { retry: false, staleTime: 10_000, gcTime: 10 * 60_000, refetchOnWindowFocus: 'always', networkMode: 'always' },
      mutations: { retry: false, networkMode: 'always' },
    },
  });
}

export function useAppState() {
  return useQuery({
    queryKey: ['state'],
    queryFn: async ({ signal }) => {
      const s = await hub.entrance.state({}, { signal });
      setCsrf(s.csrf);
      return s;
    },
    staleTime: 60_000,
    retry: true,
    retryDelay: (n) => Math.min(500 * 2 ** n, 5_000),
  });
}

export function useOverview() {
  return useQuery({
    queryKey: ['overview'],
    queryFn: async ({ signal }) => {
      const o = await hub.fleet.overview({}, { signal });
      if (o.at) setHubTime(ms(o.at));
      return o;
    },
  });
}

/** useRole says what the person at the page may do. */
export function useRole(): { operator: boolean; admin: boolean } {
  const role = useAppState().data?.you?.role ?? Role.UNSPECIFIED;
  return { operator: role >= Role.OPERATOR, admin: role >= Role.ADMIN };
}

/** A page of a list, and where the next one begins. */
interface Slice<T> {
  items: T[];
  next: string;
}

export interface Pages<T, R> {
  items: T[];
  first: R | undefined; // the first page's whole answer
  more: boolean;
  loadMore: () => void;
  loading: boolean; // nothing to show yet
  fetching: boolean;
  old: boolean; // what is shown answers the question before this one
  fault: Fault | undefined;
  updatedAt: number;
}

/** usePages reads a list page by page; what is shown stays while it is asked again. */
export function usePages<R, T>(
  queryKey: unknown[],
  fetch: (token: string, signal: AbortSignal) => Promise<R>,
  slice: (r: R) => Slice<T>,
): Pages<T, R> {
  const q = useInfiniteQuery({
    queryKey,
    queryFn: ({ pageParam, signal }) => fetch(pageParam, signal),
    initialPageParam: '',
    getNextPageParam: (last) => slice(last).next || undefined,
    placeholderData: keepPreviousData,
  });
  return {
    items: q.data?.pages.flatMap((p) => slice(p).items) ?? [],
    first: q.data?.pages[0],
    more: q.hasNextPage,
    loadMore: () => {
      if (q.hasNextPage && !q.isFetching) void q.fetchNextPage();
    },
    loading: q.isPending,
    fetching: q.isFetching,
    old: q.isPlaceholderData,
    fault: q.error ? faultOf(q.error) : undefined,
    updatedAt: q.dataUpdatedAt,
  };
}

/** useAct runs something that writes, and has what it changed asked again, also when it failed. */
export function useAct<A, R>(run: (arg: A) => Promise<R>, stale: string[][], done?: (r: R, arg: A) => void) {
  const client = useQueryClient();
  const m = useMutation({
    mutationFn: run,
    onSuccess: (r, arg) => done?.(r, arg),
    onSettled: () => {
      for (const queryKey of [...stale, ['overview']]) void client.invalidateQueries({ queryKey });
    },
  });
  return { run: m.mutate, runAsync: m.mutateAsync, busy: m.isPending, fault: m.error ? faultOf(m.error) : undefined, reset: m.reset };
}
