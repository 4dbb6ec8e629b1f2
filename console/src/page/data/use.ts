import { useQuery } from '@tanstack/react-query';
import { hub } from '../../hub/client';

/** useTables is what the hub synchronises: asked for seldom, it changes seldom. */
export function useTables() {
  return useQuery({ queryKey: ['data', 'tables'], queryFn: ({ signal }) => hub.data.tables({}, { signal }), staleTime: 60_000 });
}

export function useScopes() {
  return useQuery({ queryKey: ['data', 'scopes'], queryFn: ({ signal }) => hub.data.scopes({}, { signal }), staleTime: 30_000 });
}
