import { useMantineColorScheme, Modal, Button } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useEffect, useRef, useState, type ComponentType } from 'react';
import type { OverviewResponse, Person, StateResponse } from './gen/tidemark/admin/v1/admin_pb';
import { Role } from './gen/tidemark/admin/v1/admin_pb';
import { hub } from './hub/client';
import { useLive } from './hub/live';
import { useOverview } from './hub/query';
import { watch } from './hub/watch';
import { clock } from './format/time';
import { useBindings, useKeys } from './keys/keys';
import { go, href, useRoute } from './route/router';
import { Brand, Icon, type IconName } from './ui/icon';
import { Boundary } from './ui/boundary';
import { Empty, Loading } from './ui/parts';
import FleetPage from './page/fleet/fleet';

interface Place {
  name: string;
  label: string;
  key?: string;
  admin?: boolean;
  operator?: boolean;
  page: ComponentType;
}

const places: Record<string, Place> = {
  fleet: { name: 'fleet', label: 'Fleet', key: 'f', page: FleetPage },
  conflicts: { name: 'conflicts', label: 'Conflicts', key: 'c', page: lazy(() => import('./page/conflicts/conflicts')) },
  quarantine: { name: 'quarantine', label: 'Quarantine', key: 'q', page: lazy(() => import('./page/quarantine/quarantine')) },
  data: { name: 'data', label: 'Data', key: 'd', page: lazy(() => import('./page/data/data')) },
  enrol: { name: 'enrol', label: 'Enrol', key: 'e', operator: true, page: lazy(() => import('./page/enrol/enrol')) },
  people: { name: 'people', label: 'People', key: 'p', page: lazy(() => import('./page/people/people')) },
  you: { name: 'you', label: 'You', key: 'y', page: lazy(() => import('./page/you/you')) },
  device: { name: 'device', label: 'Device', page: lazy(() => import('./page/device/device')) },
};
const rail = ['fleet', 'conflicts', 'quarantine', 'data', 'enrol', 'people', 'you'];

export function Shell({ state, you }: { state: StateResponse; you: Person }) {
  const route = useRoute();
  const client = useQueryClient();
  const overview = useOverview().data;
  const pane = useRef<HTMLElement>(null);
  const name = route.parts[0] ?? 'fleet';
  const place = places[name];
  const shown = rail.filter((p) => !(places[p]?.operator && you.role < Role.OPERATOR));
  const [help, setHelp] = useState(false);

  useEffect(() => {
    const end = new AbortController();
    void watch((signal) => hub.fleet.watch({}, { signal, timeoutMs: 0 }), client, end.signal);
    return () => end.abort();
  }, [client]);
  useEffect(() => {
    document.title = `${place?.label ?? 'Nothing here'} · ${state.hub || 'Tidemark'}`;
    pane.current?.scrollTo(0, 0);
  }, [place?.label, state.hub]);
  useKeys('Everywhere', [
    ...shown.map((p) => ({ keys: `g ${places[p]!.key}`, label: places[p]!.label, run: () => go(href([p])) })),
    { keys: '/', label: 'search', run: () => document.querySelector<HTMLInputElement>('input[type=search]')?.focus() },
    { keys: '?', label: 'these keys', run: () => setHelp(true) },
  ]);

  const Page = place?.page;
  return (
    <div className="shell">
      <a className="skip" href="#main" onClick={(e) => { e.preventDefault(); pane.current?.focus(); }}>
        Skip to the page
      </a>
      <Rail state={state} you={you} shown={shown} at={name} overview={overview} onKeys={() => setHelp(true)} />
      <main id="main" className="pane" ref={pane} tabIndex={-1}>
        <Bars overview={overview} />
        <Boundary at={route.parts.join('/')}>
          <Suspense fallback={<Loading what="the page" />}>
            {Page ? <Page /> : <Empty alone title="There is no such page.">The address may be mistyped. <a href="#/fleet">To the fleet</a></Empty>}
          </Suspense>
        </Boundary>
      </main>
      <Bottom shown={shown} at={name} overview={overview} onKeys={() => setHelp(true)} />
      <Modal opened={help} onClose={() => setHelp(false)} title="Keys" closeButtonProps={{ 'aria-label': 'Close' }}>
        <KeyList />
      </Modal>
    </div>
  );
}

function counts(p: string, o: OverviewResponse | undefined): { n: number; warn: boolean } {
  if (p === 'conflicts') return { n: (o?.manual ?? 0) || (o?.receiptsNew ?? 0), warn: (o?.manual ?? 0) > 0 };
  if (p === 'quarantine') return { n: o?.quarantined ?? 0, warn: true };
  return { n: 0, warn: false };
}

function Count({ p, o }: { p: string; o: OverviewResponse | undefined }) {
  const { n, warn } = counts(p, o);
  if (n === 0) return null;
  return <span className={`n ${warn ? 'warning' : ''}`}>{n > 999 ? '999+' : n}</span>;
}

interface RailProps {
  state: StateResponse;
  you: Person;
  shown: string[];
  at: string;
  overview: OverviewResponse | undefined;
  onKeys: () => void;
}

function Rail({ state, you, shown, at, overview, onKeys }: RailProps) {
  return (
    <nav className="rail" aria-label="Pages">
      <div className="brand">
        <Brand />
        <span>
          Tidemark
          <small>{state.hub}</small>
        </span>
      </div>
      {shown.map((p) => (
        <a key={p} className="to" href={href([p])} aria-current={isAt(p, at) ? 'page' : undefined}>
          <Icon name={p as IconName} />
          {places[p]!.label}
          <Count p={p} o={overview} />
        </a>
      ))}
      <div className="foot">
        <div className="row">
          <LiveWord />
        </div>
        <Scheme />
        <div className="row small dim">
          <span className="clip" title={you.name}>
            {you.name} · {Role[you.role]?.toLowerCase()}
          </span>
        </div>
        <div className="row small dim">
          <span>{state.version}</span>
          <span className="grow" />
          <Button size="compact-xs" variant="default" onClick={onKeys}>
            Keys&nbsp;<kbd>?</kbd>
          </Button>
        </div>
      </div>
    </nav>
  );
}

function isAt(p: string, at: string): boolean {
  return p === at || (p === 'fleet' && at === 'device');
}

/** LiveWord says how fresh the page is, in a word. */
export function LiveWord() {
  const live = useLive();
  const word = { starting: 'connecting …', live: 'live', polling: 'asking every 5 s', away: 'no answer' }[live.mode];
  return (
    <span className="live" data-mode={live.mode} role="status" title={live.mode === 'polling' ? 'The stream of news does not get through; the page asks every 5 seconds instead.' : undefined}>
      <i />
      {word}
    </span>
  );
}

/** Bars say what concerns the whole page: the hub is away, or stands still. */
function Bars({ overview }: { overview: OverviewResponse | undefined }) {
  const live = useLive();
  return (
    <>
      {live.mode === 'away' && (
        <div className="bar alarm" role="alert">
          <strong>The hub does not answer.</strong>
          <span>{live.heardAt ? `What you see is as of ${clock(live.heardAt)}.` : ''} The page keeps trying; what you typed is kept.</span>
        </div>
      )}
      {overview?.behind && (
        <div className="bar alarm" role="alert">
          <strong>The hub serves nobody:</strong> <span>{overview.behind}</span>
        </div>
      )}
      {(overview?.notServed.length ?? 0) > 0 && (
        <div className="bar warning" role="alert">
          <strong>Tables that are not synchronised:</strong> <span>{overview?.notServed.join('; ')}</span>
        </div>
      )}
    </>
  );
}

function Scheme() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <div className="row scheme" role="group" aria-label="Colours">
      {(['auto', 'light', 'dark'] as const).map((s) => (
        <Button key={s} size="compact-xs" variant={colorScheme === s ? 'filled' : 'default'} aria-pressed={colorScheme === s} onClick={() => setColorScheme(s)}>
          {s}
        </Button>
      ))}
    </div>
  );
}

function Bottom({ shown, at, overview, onKeys }: { shown: string[]; at: string; overview: OverviewResponse | undefined; onKeys: () => void }) {
  const [open, setOpen] = useState(false);
  const first = shown.slice(0, 4);
  const rest = shown.slice(4);
  return (
    <nav className="tabs-bottom" aria-label="Pages, on a phone">
      {first.map((p) => (
        <a key={p} href={href([p])} aria-current={isAt(p, at) ? 'page' : undefined}>
          <Icon name={p as IconName} />
          {places[p]!.label}
          <Count p={p} o={overview} />
        </a>
      ))}
      <button type="button" onClick={() => setOpen(true)} aria-current={rest.includes(at) ? 'page' : undefined}>
        <Icon name="more" />
        More
      </button>
      <Modal opened={open} onClose={() => setOpen(false)} title="More" closeButtonProps={{ 'aria-label': 'Close' }}>
        <div className="more">
          {rest.map((p) => (
            <a key={p} href={href([p])} onClick={() => setOpen(false)}>
              <Icon name={p as IconName} />
              {places[p]!.label}
            </a>
          ))}
          <Scheme />
          <LiveWord />
          <Button variant="default" size="compact-sm" onClick={() => { setOpen(false); onKeys(); }}>
            Keys
          </Button>
        </div>
      </Modal>
    </nav>
  );
}

function KeyList() {
  const layers = useBindings();
  return (
    <div className="stack">
      {layers.map((l, i) => (
        <section key={i}>
          <h3>{l.title}</h3>
          <div className="keys-list">
            {l.bindings.map((b) => (
              <Line key={b.keys + b.label} keys={b.keys} label={b.label} />
            ))}
          </div>
        </section>
      ))}
    </div>
  );
}

const shown: Record<string, string> = { ArrowDown: '↓', ArrowUp: '↑' };

function Line({ keys, label }: { keys: string; label: string }) {
  return (
    <>
      <span>
        {keys.split(', ').map((k) => (
          <kbd key={k}>{shown[k] ?? k}</kbd>
        ))}
      </span>
      <span>{label}</span>
    </>
  );
}
