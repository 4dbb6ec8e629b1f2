import { Button } from '@mantine/core';
import { useState } from 'react';
import type { Receipt } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { usePages, useRole } from '../../hub/query';
import { plural } from '../../format/number';
import { plain } from '../../format/value';
import { go, href, setQuery, useRoute } from '../../route/router';
import { Ask, type Question } from '../../ui/ask';
import { useCursor, useSelection } from '../../ui/list';
import { Ago, Empty, FaultNote, Loading, Tag } from '../../ui/parts';
import { Item, Split } from '../../ui/split';
import { Pick } from '../../ui/tabs';
import { say } from '../../ui/toast';
import { useQueryClient } from '@tanstack/react-query';
import { Search } from '../fleet/fleet';
import { useTables } from '../data/use';
import { ReceiptDetail } from './receipt';
import { canUndo, stake, stateNames, stateWord, what } from './words';

/** Decided lists the conflicts that a rule settled: to read, to accept, to undo. */
export function Decided() {
  const { parts, query } = useRoute();
  const chosen = parts[1] ?? '';
  const filters = { table: query.get('table') ?? '', device: query.get('device') ?? '', state: query.get('state') ?? '', search: query.get('q') ?? '' };
  const keep = Object.fromEntries(query);
  const at = (id: string) => href(['conflicts', id], keep);
  const pages = usePages(
    ['conflicts', filters],
    (pageToken, signal) => hub.conflicts.list({ ...filters, state: stateNames[filters.state] ?? 0, page: { pageSize: 100, pageToken } }, { signal }),
    (r) => ({ items: r.receipts, next: r.nextPageToken }),
  );
  const ids = pages.items.map((r) => r.id);
  const chosenReceipt = pages.items.find((r) => r.id === chosen);
  const sel = useSelection(ids);
  const { operator } = useRole();
  const [question, setQuestion] = useState<Question>();
  const deeds = useDeeds(setQuestion, sel.clear);
  const targets = (): Receipt[] => (sel.list.length ? pages.items.filter((r) => sel.has(r.id)) : chosenReceipt ? [chosenReceipt] : []);
  useCursor(ids, {
    title: 'Conflicts',
    current: chosen,
    follow: true,
    open: (id) => go(at(id), chosen !== ''),
    more: operator
      ? [
          { keys: 'x', label: 'select', run: () => chosen && sel.toggle(chosen) },
          { keys: 'X', label: 'select all shown', run: () => (sel.list.length ? sel.clear() : sel.all()) },
          { keys: 'a', label: 'accept', run: () => deeds.accept(targets()) },
          { keys: 'u', label: 'undo', run: () => deeds.undo(targets()) },
        ]
      : [],
  });
  const back = href(['conflicts'], keep);
  return (
    <>
      <Filters filters={filters} />
      <Split
        chosen={chosen !== ''}
        back={back}
        list={
          <div className="sheet">
            {operator && (
              <div className="deeds">
                <span className="small dim grow">{sel.list.length ? `${sel.list.length} selected` : 'x selects, a accepts, u undoes'}</span>
                <Button size="compact-sm" variant="default" disabled={targets().length === 0} onClick={() => deeds.accept(targets())}>
                  Accept
                </Button>
                <Button size="compact-sm" variant="default" disabled={!targets().some(canUndo)} onClick={() => deeds.undo(targets())}>
                  Undo
                </Button>
              </div>
            )}
            {pages.items.length === 0 && <FaultNote fault={pages.fault} />}
            {pages.loading && !pages.fault && <Loading what="conflicts" />}
            {!pages.loading && !pages.fault && pages.items.length === 0 && <None any={Object.values(filters).some(Boolean)} />}
            <ul className="items">
              {pages.items.map((r) => (
                <Item key={r.id} to={at(r.id)} at={r.id === chosen} label={what(r)} picked={sel.has(r.id)} onPick={operator ? () => sel.toggle(r.id) : undefined}>
                  <Line r={r} />
                </Item>
              ))}
            </ul>
            {pages.more && (
              <div className="deeds">
                <Button size="compact-sm" variant="default" onClick={pages.loadMore} loading={pages.fetching}>
                  Older
                </Button>
              </div>
            )}
          </div>
        }
        detail={chosen ? <ReceiptDetail id={chosen} onAccept={(r) => deeds.accept([r])} onUndo={(r) => deeds.undo([r])} /> : pages.items.length > 0 && <Empty title="Choose a conflict.">j and k go through the list.</Empty>}
      />
      <Ask question={question} onClose={() => setQuestion(undefined)} />
    </>
  );
}

function Line({ r }: { r: Receipt }) {
  const state = stateWord(r);
  return (
    <>
      <div className="line1">
        <span className="clip grow">{what(r)}</span>
        {state !== 'new' && <Tag>{state}</Tag>}
        <span className="small dim">
          <Ago t={r.at} />
        </span>
      </div>
      <div className="line2">
        <span className="clip grow">
          {stake(r)}: {plain(r.result) || '—'}
        </span>
        <span className="clip sides-told">
          {r.winnerName || r.winner} over {r.loserName || 'the other'}
        </span>
      </div>
    </>
  );
}

function None({ any }: { any: boolean }) {
  if (!any) return <Empty title="No conflicts.">Nobody changed the same thing twice without knowing.</Empty>;
  return (
    <Empty title="No conflict matches.">
      <a href="#/conflicts">Show all</a>
    </Empty>
  );
}

function Filters({ filters }: { filters: { table: string; device: string; state: string; search: string } }) {
  const tables = useTables();
  return (
    <div className="filters" role="search" aria-label="Which conflicts">
      <Search value={filters.search} label="Search keys and values" />
      <Pick label="Table" any="all tables" value={filters.table} onChange={(table) => setQuery({ table })} options={(tables.data?.tables ?? []).map((t) => ({ value: t.name, label: t.name }))} />
      <Pick label="State" any="in any state" value={filters.state} onChange={(state) => setQuery({ state })} options={Object.keys(stateNames).map((s) => ({ value: s, label: s === 'new' ? 'not looked at' : s }))} />
      {filters.device && (
        <Button size="compact-sm" variant="default" onClick={() => setQuery({ device: '' })}>
          of one device ✕
        </Button>
      )}
    </div>
  );
}

function useDeeds(ask: (q: Question) => void, clear: () => void) {
  const client = useQueryClient();
  const settled = () => {
    void client.invalidateQueries({ queryKey: ['conflicts'] });
    void client.invalidateQueries({ queryKey: ['overview'] });
  };
  return {
    accept: (list: Receipt[]) => {
      if (list.length === 0) return;
      ask({
        title: `Accept ${list.length === 1 ? what(list[0]!) : plural(list.length, 'conflict')}`,
        text: 'Says that the decision was looked at and stands. No data changes.',
        verb: 'Accept',
        reason: 'optional',
        draft: 'accept',
        run: async (note) => {
          const r = await hub.conflicts.accept({ ids: list.map((x) => x.id), note }).finally(settled);
          say(`${plural(r.accepted, 'conflict')} accepted`);
          clear();
        },
      });
    },
    undo: (all: Receipt[]) => {
      const list = all.filter(canUndo);
      if (list.length === 0) return;
      const one = list.length === 1 ? list[0]! : undefined;
      ask({
        title: `Undo ${one ? what(one) : plural(list.length, 'conflict')}`,
        text: one ? (
          <>
            Writes what {one.loserName || 'the other side'} had{one.column ? <> into <b>{one.column}</b></> : ''}: <b>“{plain(one.winner === 'hub' ? one.edge : one.hub) || 'the row as it was'}”</b>. It is a new change: it goes to every device, and can be undone in turn.
          </>
        ) : (
          'Each loser’s side is written back, as new changes that go to every device and can be undone in turn.'
        ),
        verb: 'Undo',
        run: async () => {
          try {
            for (const r of list) await hub.conflicts.undo({ id: r.id });
          } finally {
            settled();
          }
          say(one ? `${what(one)}: undone` : `${plural(list.length, 'conflict')} undone`);
          clear();
        },
      });
    },
  };
}
