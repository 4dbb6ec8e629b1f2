import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { hub } from '../../hub/client';
import { faultOf } from '../../hub/fault';
import { count, plural } from '../../format/number';
import { href, setQuery, useRoute } from '../../route/router';
import { Ago, Empty, FaultNote, Loading, Val } from '../../ui/parts';
import { Pick } from '../../ui/tabs';
import { useTables } from '../data/use';
import { policies, what } from './words';

/** WhatIf replays recent conflicts under another policy, before anybody changes it. */
export function WhatIf() {
  const { query } = useRoute();
  const ask = { table: query.get('table') ?? '', column: query.get('column') ?? '', policy: query.get('policy') ?? '', last: Number(query.get('last') ?? 200) || 200 };
  const tables = useTables();
  const table = tables.data?.tables.find((t) => t.name === ask.table);
  const ready = ask.table !== '' && ask.policy !== '';
  const q = useQuery({ queryKey: ['whatif', ask], queryFn: ({ signal }) => hub.conflicts.whatIf(ask, { signal }), enabled: ready });
  const r = q.data;
  return (
    <div className="stack">
      <p className="dim">Recent conflicts are decided anew under another policy. Nothing is changed: the policy itself is changed in tidemark.yaml.</p>
      <div className="filters">
        <Pick label="Table" any="which table?" value={ask.table} onChange={(v) => setQuery({ table: v, column: '' })} options={(tables.data?.tables ?? []).map((t) => ({ value: t.name, label: t.name }))} />
        <Pick label="Column" any="all columns" value={ask.column} onChange={(column) => setQuery({ column })} options={(table?.columns ?? []).filter((c) => !c.key).map((c) => ({ value: c.name, label: `${c.name} (${c.policy || table?.policy || 'latest'} now)` }))} />
        <Pick label="Policy" any="which policy?" value={ask.policy} onChange={(policy) => setQuery({ policy })} options={policies.map((p) => ({ value: p, label: p }))} />
        <Pick label="How many" value={String(ask.last)} onChange={(last) => setQuery({ last })} options={['50', '200', '1000'].map((n) => ({ value: n, label: `last ${n}` }))} />
        <Button variant="default" disabled={!ready} loading={q.isFetching} onClick={() => void q.refetch()}>
          Again
        </Button>
      </div>
      <FaultNote fault={q.error ? faultOf(q.error) : undefined} />
      {!ready && <Empty title="Choose a table and a policy." />}
      {ready && q.isPending && !q.error && <Loading what="the replay" />}
      {r && (
        <section className="sheet" aria-label="What would differ">
          <header>
            <h2>
              {r.differ === 0 ? 'Nothing would differ' : `${count(r.differ)} of ${plural(r.lookedAt, 'conflict')} would end otherwise`}
              {r.wouldWait > 0 && `, ${count(r.wouldWait)} would wait for a person`}
            </h2>
            {r.differ === 0 && <span className="dim">of {plural(r.lookedAt, 'conflict')} looked at</span>}
          </header>
          {r.cases.length > 0 && (
            <div className="scroll-x" tabIndex={0} role="region" aria-label="Conflicts that would differ">
              <table className="plain">
                <thead>
                  <tr>
                    <th>Row</th>
                    <th>Column</th>
                    <th>When</th>
                    <th>Stood</th>
                    <th>Would stand</th>
                  </tr>
                </thead>
                <tbody>
                  {r.cases.map((c, i) => (
                    <tr key={c.receipt?.id ?? i}>
                      <td>{c.receipt && <a href={href(['conflicts', c.receipt.id])}>{what(c.receipt)}</a>}</td>
                      <td>{c.receipt?.column}</td>
                      <td>
                        <Ago t={c.receipt?.at} />
                      </td>
                      <td>
                        <Val v={c.receipt?.result} />
                      </td>
                      <td>{c.why && !c.would ? <span className="dim">{c.why}</span> : <><Val v={c.would} />{c.why && <div className="small dim">{c.why}</div>}</>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </section>
      )}
    </div>
  );
}
