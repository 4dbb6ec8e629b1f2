import { MantineProvider } from '@mantine/core';
import { QueryClientProvider, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useEffect, useLayoutEffect, useMemo } from 'react';
import { faultOf } from './hub/fault';
import { makeQueryClient, useAppState } from './hub/query';
import { whenLoggedOut } from './hub/transport';
import { nonce } from './nonce';
import { useRoute } from './route/router';
import { Shell } from './shell';
import { cssVariables, theme } from './theme';
import { Loading } from './ui/parts';
import { Toasts } from './ui/toast';

const Entrance = lazy(() => import('./page/entrance/entrance'));

export function App() {
  const client = useMemo(makeQueryClient, []);
  return (
    <MantineProvider theme={theme} cssVariablesResolver={cssVariables} defaultColorScheme="auto" getStyleNonce={nonce}>
      <QueryClientProvider client={client}>
        <Gate />
        <Toasts />
      </QueryClientProvider>
    </MantineProvider>
  );
}

/** Gate shows the door, or the house to who is inside. */
function Gate() {
  const client = useQueryClient();
  const state = useAppState();
  const route = useRoute();
  useEffect(() => {
    whenLoggedOut(() => void client.invalidateQueries({ queryKey: ['state'] }));
  }, [client]);
  const fault = state.failureReason ? faultOf(state.failureReason) : undefined;
  const known = !!state.data || !!fault;
  useLayoutEffect(() => {
    if (known) document.getElementById('frame')?.remove();
  }, [known]);
  if (!state.data) return fault && <main><Waiting text={fault.text} /></main>;
  const door = route.parts[0] === 'setup' || route.parts[0] === 'invite';
  if (!state.data.you || door) {
    return (
      <Suspense fallback={<Loading what="the door" />}>
        <Entrance state={state.data} />
      </Suspense>
    );
  }
  return <Shell state={state.data} you={state.data.you} />;
}

function Waiting({ text }: { text: string }) {
  return (
    <div className="empty" role="alert">
      <strong>{text}</strong>
      This page tries again by itself. Is the hub running, and is this its address?
    </div>
  );
}
