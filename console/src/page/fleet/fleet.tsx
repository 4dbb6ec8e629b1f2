import './fleet.css';
import { Button, TextInput } from '@mantine/core';
import { useEffect, useState } from 'react';
import { hub } from '../../hub/client';
import { useOverview, usePages } from '../../hub/query';
import { count } from '../../format/number';
import { tones } from '../../format/level';
import { go, href, setQuery, useRoute } from '../../route/router';
import { useCursor } from '../../ui/list';
import { Empty, FaultNote, Loading } from '../../ui/parts';
import { useKeys } from '../../keys/keys';
import { Headline } from './headline';
import { DeviceTable, useReveal } from './table';
import { anyFilter, readFilters, request, type Filters } from './filters';

export default function FleetPage() {
  const { query } = useRoute();
  const f = readFilters(query);
  const pages = usePages(
    ['fleet', f],
    (token, signal) => hub.fleet.list(request(f, token), { signal }),
    (r) => ({ items: r.devices, next: r.nextPageToken }),
  );
  const overview = useOverview();
  const { virtual, listRef, reveal } = useReveal(pages);
  const ids = pages.items.map((d) => d.id);
  const cursor = useCursor(ids, { title: 'Fleet', open: (id) => go(href(['device', id])), reveal });
  const levels = overview.data?.levels;
  useKeys('Fleet, filters', [{ keys: 'c', label: 'no filters', run: () => go(href(['fleet']), true) }], anyFilter(f));
  const total = pages.first?.total ?? 0;

  return (
    <div className="page fleet">
      <h1 className="hidden-label">Fleet</h1>
      <Headline overview={overview.data} fault={overview.data ? undefined : overview.error} />
      <Bar f={f} levels={levels} total={pages.old ? undefined : total} />
      {pages.items.length === 0 && <FaultNote fault={pages.fault} />}
      {pages.loading && !pages.fault && <Loading what="the devices" />}
      {!pages.loading && pages.items.length === 0 && !pages.fault && <None f={f} />}
      {pages.items.length > 0 && <DeviceTable devices={pages.items} total={total} sort={f.sort} virtual={virtual} listRef={listRef} cursor={cursor.at} />}
    </div>
  );
}

function None({ f }: { f: Filters }) {
  if (!anyFilter(f)) {
    return (
      <Empty title="No device has been enrolled yet.">
        <a href="#/enrol">Enrol the first one</a>
      </Empty>
    );
  }
  return (
    <Empty title="No device matches.">
      <p>The search looks in names, ids and scopes.</p>
      <Button mt={8} variant="default" onClick={() => go(href(['fleet']), true)}>
        Show all devices
      </Button>
    </Empty>
  );
}

function Bar({ f, levels, total }: { f: Filters; levels: Record<string, number> | undefined; total: number | undefined }) {
  const toggle = (list: string[], one: string) => (list.includes(one) ? list.filter((x) => x !== one) : [...list, one]);
  return (
    <div className="fleet-bar" role="search" aria-label="Which devices">
      <Search value={f.search} />
      <div className="row" role="group" aria-label="Levels">
        {tones.map((t) => (
          <button key={t} type="button" className={`chip is-${t}`} aria-pressed={f.levels.includes(t)} onClick={() => setQuery({ level: toggle(f.levels, t) })}>
            {levels && <span className="num">{count(levels[t] ?? 0)} </span>}
            {t}
          </button>
        ))}
      </div>
      <div className="row" role="group" aria-label="States">
        <button type="button" className="chip" aria-pressed={f.connected} onClick={() => setQuery({ connected: f.connected ? '' : 'yes' })}>
          connected
        </button>
        {['invited', 'active', 'revoked'].map((s) => (
          <button key={s} type="button" className="chip" aria-pressed={f.states.includes(s)} onClick={() => setQuery({ state: toggle(f.states, s) })}>
            {s}
          </button>
        ))}
      </div>
      <span className="grow" />
      <span className="dim small num" role="status">
        {total === undefined ? 'looking …' : `${count(total)} ${anyFilter(f) ? 'match' : total === 1 ? 'device' : 'devices'}`}
      </span>
    </div>
  );
}

/** Search waits for a pause in typing before it asks the hub. */
export function Search({ value, label = 'Search name, id, scope' }: { value: string; label?: string }) {
  const [text, setText] = useState(value);
  const [last, setLast] = useState(value);
  if (value !== last) {
    setLast(value);
    setText(value);
  }
  useEffect(() => {
    if (text === value) return;
    const t = setTimeout(() => setQuery({ q: text.trim() }), 150);
    return () => clearTimeout(t);
  }, [text, value]);
  return (
    <TextInput
      type="search"
      aria-label={label}
      placeholder={label}
      className="search"
      value={text}
      onChange={(e) => setText(e.currentTarget.value)}
      onKeyDown={(e) => {
        if (e.key === 'Escape') {
          setText('');
          e.currentTarget.blur();
        }
        if (e.key === 'Enter') e.currentTarget.blur();
      }}
    />
  );
}
