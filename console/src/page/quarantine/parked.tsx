import { Button } from '@mantine/core';
import { useState } from 'react';
import type { Parked } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { usePages, useRole } from '../../hub/query';
import { plural, short } from '../../format/number';
import type { Binding } from '../../keys/keys';
import { go, href, setQuery, useRoute } from '../../route/router';
import { Ask, type Question } from '../../ui/ask';
import { useCursor, useSelection } from '../../ui/list';
import { Ago, Empty, FaultNote, Loading, Tag } from '../../ui/parts';
import { Item, Split } from '../../ui/split';
import { Pick } from '../../ui/tabs';
import { Search } from '../fleet/fleet';
import { useDeeds } from './deeds';
import { ParkedDetail } from './detail';
import { codeWords, title } from './words';

interface Props {
  base: string; // the page's first word
  code?: string; // only these, and no filter by code
  none: { title: string; text: string };
}

/** ParkedList is the quarantine, or the part of it that is the inbox of decisions. */
export function ParkedList({ base, code, none }: Props) {
  const { parts, query } = useRoute();
  const chosen = parts[1] ?? '';
  const filters = { code: code ?? query.get('code') ?? '', device: query.get('device') ?? '', search: query.get('q') ?? '' };
  const keep = Object.fromEntries(query);
  const at = (id: string) => href([base, id], keep);
  const pages = usePages(
    ['quarantine', filters],
    (pageToken, signal) => hub.quarantine.list({ ...filters, page: { pageSize: 200, pageToken } }, { signal }),
    (r) => ({ items: r.parked, next: r.nextPageToken }),
  );
  const ids = pages.items.map((p) => p.id);
  const sel = useSelection(ids);
  const { operator } = useRole();
  const [question, setQuestion] = useState<Question>();
  const deeds = useDeeds(setQuestion, sel.clear);
  const targets = (): Parked[] => pages.items.filter((p) => (sel.list.length ? sel.has(p.id) : p.id === chosen));
  const manual = code === 'manual';
  const keys: Binding[] = [
    { keys: 'x', label: 'select', run: () => chosen && sel.toggle(chosen) },
    { keys: 'X', label: 'select all shown', run: () => (sel.list.length ? sel.clear() : sel.all()) },
    { keys: 'r', label: 'retry', run: () => deeds.retry(targets()) },
    { keys: 'd', label: 'discard, with a reason', run: () => deeds.discard(targets()) },
    ...(manual
      ? [
          { keys: 't, u', label: 'keep theirs', run: () => deeds.take(targets(), 'hub') },
          { keys: 'o, a', label: 'take ours', run: () => deeds.take(targets(), 'edge') },
        ]
      : []),
  ];
  useCursor(ids, { title: manual ? 'Inbox' : 'Quarantine', current: chosen, follow: true, open: (id) => go(at(id), chosen !== ''), more: operator ? keys : [] });
  const any = (!code && filters.code !== '') || filters.device !== '' || filters.search !== '';
  const n = targets().length;
  return (
    <>
      <Filters filters={filters} codes={code ? undefined : (pages.first?.codes ?? {})} />
      <Split
        chosen={chosen !== ''}
        back={href([base], keep)}
        list={
          <div className="sheet">
            {operator && (
              <div className="deeds">
                <span className="small dim grow">{sel.list.length ? `${sel.list.length} selected` : manual ? 'x selects, t keeps theirs, o takes ours' : 'x selects, r retries, d discards'}</span>
                {manual && <Button size="compact-sm" variant="default" disabled={n === 0} onClick={() => deeds.take(targets(), 'hub')}>Theirs</Button>}
                {manual && <Button size="compact-sm" variant="default" disabled={n === 0} onClick={() => deeds.take(targets(), 'edge')}>Ours</Button>}
                {!manual && <Button size="compact-sm" variant="default" disabled={n === 0} onClick={() => deeds.retry(targets())}>Retry</Button>}
                <Button size="compact-sm" variant="default" disabled={n === 0} onClick={() => deeds.discard(targets())}>Discard</Button>
              </div>
            )}
            {pages.items.length === 0 && <FaultNote fault={pages.fault} />}
            {pages.loading && !pages.fault && <Loading what="the quarantine" />}
            {!pages.loading && !pages.fault && pages.items.length === 0 && (any ? <Empty title="Nothing matches."><a href={href([base], manual ? { tab: 'inbox' } : {})}>Show all</a></Empty> : <Empty title={none.title}>{none.text}</Empty>)}
            <ul className="items">
              {pages.items.map((p) => (
                <Item key={p.id} to={at(p.id)} at={p.id === chosen} label={title(p)} picked={sel.has(p.id)} onPick={operator ? () => sel.toggle(p.id) : undefined}>
                  <Line p={p} />
                </Item>
              ))}
            </ul>
            {pages.more && (
              <div className="deeds">
                <Button size="compact-sm" variant="default" onClick={pages.loadMore} loading={pages.fetching}>More</Button>
              </div>
            )}
          </div>
        }
        detail={chosen ? <ParkedDetail id={chosen} deeds={deeds} /> : pages.items.length > 0 && <Empty title="Choose a transaction.">j and k go through the list.</Empty>}
      />
      <Ask question={question} onClose={() => setQuestion(undefined)} />
    </>
  );
}

function Line({ p }: { p: Parked }) {
  return (
    <>
      <div className="line1">
        <span className="clip grow">{title(p)}</span>
        <span className="small dim"><Ago t={p.at} /></span>
      </div>
      <div className="line2">
        <Tag tone={p.code === 'depends' ? undefined : 'warning'} title={codeWords(p.code)}>{p.code}</Tag>
        <span className="clip grow" title={p.reason}>{p.deviceName || short(p.device)}: {p.reason}</span>
        {p.dependants.length > 0 && <span className="nowrap">{plural(p.dependants.length, 'waits', 'wait')} for it</span>}
      </div>
    </>
  );
}

function Filters({ filters, codes }: { filters: { code: string; device: string; search: string }; codes: Record<string, number> | undefined }) {
  return (
    <div className="filters" role="search" aria-label="Which transactions">
      <Search value={filters.search} label="Search reasons and rows" />
      {codes && <Pick label="Code" any="all codes" value={filters.code} onChange={(code) => setQuery({ code })} options={Object.entries(codes).sort().map(([c, n]) => ({ value: c, label: `${c} (${n})` }))} />}
      {filters.device && (
        <Button size="compact-sm" variant="default" onClick={() => setQuery({ device: '' })}>
          of one device ✕
        </Button>
      )}
    </div>
  );
}
