import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { GetParkedResponse, Parked, Table } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf, type Fault } from '../../hub/fault';
import { useRole } from '../../hub/query';
import { useDraft } from '../../edit/draft';
import { plural, short } from '../../format/number';
import { full } from '../../format/time';
import { href } from '../../route/router';
import { Ago, FaultNote, Loading, Tag } from '../../ui/parts';
import { saveFile } from '../../ui/file';
import { say } from '../../ui/toast';
import { useTables } from '../data/use';
import { useSettle, type Deeds } from './deeds';
import { check, contested, noEdits, type EditDraft } from './edits';
import { OperationView } from './operation';
import { Tree } from './tree';
import { codeWords, outcome, title } from './words';

export function ParkedDetail({ id, deeds }: { id: string; deeds: Deeds }) {
  const q = useQuery({ queryKey: ['quarantine', 'one', id], queryFn: ({ signal }) => hub.quarantine.get({ id }, { signal }) });
  if (!q.data?.parked) return q.error ? <FaultNote fault={faultOf(q.error)} retry={() => void q.refetch()} /> : <Loading what="the transaction" />;
  return (
    <>
      {q.error && <FaultNote fault={faultOf(q.error)} />}
      <Body key={id} r={q.data} p={q.data.parked} deeds={deeds} />
    </>
  );
}

function Body({ r, p, deeds }: { r: GetParkedResponse; p: Parked; deeds: Deeds }) {
  const { operator } = useRole();
  const tables = useTables().data?.tables ?? [];
  const [draft, setDraft, drop] = useDraft<EditDraft>('edit.' + p.id, noEdits);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<Fault>();
  const settle = useSettle();
  const { edits, errors } = check(draft, r.operations, tables);
  const dirty = edits.length > 0 || Object.keys(errors).length > 0;
  const stale = dirty && draft.version !== '' && draft.version !== p.version;
  const blocked = p.dependsOn.length > 0 && p.code === 'depends';

  const save = async () => {
    setBusy(true);
    setFault(undefined);
    try {
      const o = outcome((await settle(hub.quarantine.edit({ id: p.id, version: p.version, edits }))).settled);
      drop();
      if (o.text) say(o.text);
      if (o.waits) setFault({ code: 'waits', text: 'Saved, but it waits still.', hint: o.waits, stale: false, away: false });
    } catch (e) {
      setFault(faultOf(e));
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="sheet">
      <header>
        <h2 className="grow">{title(p)}</h2>
        <Export p={p} />
        {operator && (
          <>
            <Button size="compact-sm" variant={p.code === 'manual' ? 'default' : 'filled'} disabled={dirty || blocked} title={dirty ? 'There are unsaved edits' : undefined} onClick={() => deeds.retry([p])}>
              Retry
            </Button>
            <Button size="compact-sm" color="red" variant="light" onClick={() => deeds.discard([p])}>
              Discard
            </Button>
          </>
        )}
      </header>
      <div className="in stack">
        <Why p={p} />
        {operator && r.operations.some((op) => contested(op).length > 0) && <Decide p={p} deeds={deeds} />}
        {r.related.length > 0 && (
          <div>
            <h3>What waits for what</h3>
            <Tree all={unique([p, ...r.related])} at={p.id} base={['quarantine']} />
          </div>
        )}
        <div className="stack">
          <h3>{plural(r.operations.length, 'operation')}</h3>
          {p.absent && <p className="dim">Its values are at the device: they come when it calls. Until then it can be discarded, not edited.</p>}
          {r.operations.map((op) => (
            <OperationView key={op.place} op={op} draft={draft} version={p.version} errors={errors} keys={keysOf(tables, op.table)} edit={operator && !p.absent ? setDraft : undefined} />
          ))}
        </div>
        {stale && (
          <div className="note warning" role="alert">
            <strong>Somebody else changed this transaction since you began.</strong> Your values are kept. Look at the columns again, then save over it, or drop your edits.
          </div>
        )}
        <FaultNote fault={fault} />
        {dirty && (
          <div className="row">
            <Button onClick={() => void save()} loading={busy} disabled={Object.keys(errors).length > 0 || edits.length === 0}>
              Save and retry
            </Button>
            <Button variant="default" onClick={drop}>
              Drop edits
            </Button>
            <span className="small dim">Unsaved edits stay in this tab.</span>
          </div>
        )}
        <p className="small dim">
          Parked {full(p.at)}
          {p.tries > 0 && `, tried ${plural(p.tries, 'time')} since`} · transaction <span className="mono">{p.id}</span>
        </p>
      </div>
    </div>
  );
}

function Why({ p }: { p: Parked }) {
  return (
    <div className="note warning">
      <div className="row">
        <Tag tone="warning">{p.code}</Tag>
        <strong>{codeWords(p.code)}</strong>
        {p.salvage && <Tag>salvaged rows</Tag>}
        {p.contested && <Tag>written since</Tag>}
        {p.reoffered && <Tag>confirmed once before</Tag>}
        {p.edited && <Tag>edited</Tag>}
        {p.split && <Tag>part of a transaction</Tag>}
      </div>
      <p>{p.reason}</p>
      <p>
        From <a href={href(['device', p.device])}>{p.deviceName || short(p.device)}</a>, <Ago t={p.at} />.
      </p>
    </div>
  );
}

function Decide({ p, deeds }: { p: Parked; deeds: Deeds }) {
  return (
    <div className="row">
      <Button onClick={() => deeds.take([p], 'hub')} variant="default">
        Keep theirs (the hub’s)
      </Button>
      <Button onClick={() => deeds.take([p], 'edge')} variant="default">
        Take ours (the device’s)
      </Button>
      <span className="dim small">or type another value below</span>
    </div>
  );
}

function keysOf(tables: Table[], name: string): string[] {
  return (tables.find((t) => t.name === name)?.columns ?? []).filter((c) => c.key).map((c) => c.name);
}

function unique(list: Parked[]): Parked[] {
  return [...new Map(list.map((p) => [p.id, p])).values()];
}

/** Export saves the transaction whole, as tidemark queue export does. */
function Export({ p }: { p: Parked }) {
  const [fault, setFault] = useState<Fault>();
  const save = async () => {
    setFault(undefined);
    try {
      saveFile(`transaction-${p.id}.json`, (await hub.quarantine.export({ id: p.id })).json);
    } catch (e) {
      setFault(faultOf(e));
    }
  };
  return (
    <>
      <Button size="compact-sm" variant="default" onClick={() => void save()}>
        Export
      </Button>
      <FaultNote fault={fault} />
    </>
  );
}
