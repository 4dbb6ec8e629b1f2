import { Button, TextInput } from '@mantine/core';
import { useState, type FormEvent } from 'react';
import type { DroppableResponse, SchemaDevice } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf, type Fault } from '../../hub/fault';
import { plural, short } from '../../format/number';
import { href } from '../../route/router';
import { FaultNote, Tag } from '../../ui/parts';

/** Droppable asks, before a column or a table is dropped at the hub, who has it still. */
export function Droppable() {
  const [name, setName] = useState('');
  const [answer, setAnswer] = useState<DroppableResponse>();
  const [fault, setFault] = useState<Fault>();
  const [busy, setBusy] = useState(false);
  const ask = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    setFault(undefined);
    setAnswer(undefined);
    const [table = '', column = ''] = name.trim().split('.');
    try {
      setAnswer(await hub.data.droppable({ table, column }));
    } catch (err) {
      setFault(faultOf(err));
    } finally {
      setBusy(false);
    }
  };
  return (
    <section className="sheet" aria-label="May it be dropped?">
      <header>
        <h2>May it be dropped?</h2>
        <span className="dim small">A table, or a column with its table: patient, patient.phone</span>
      </header>
      <div className="in stack">
        <form className="row" onSubmit={(e) => void ask(e)}>
          <TextInput aria-label="Table, or table.column" placeholder="table.column" value={name} onChange={(e) => setName(e.currentTarget.value)} required />
          <Button type="submit" variant="default" loading={busy}>
            Ask
          </Button>
        </form>
        <FaultNote fault={fault} />
        <div role="status">{answer && <Answer a={answer} />}</div>
      </div>
    </section>
  );
}

function Answer({ a }: { a: DroppableResponse }) {
  return (
    <div className="stack">
      <p>
        <Tag tone={a.open ? 'ok' : 'warning'}>{a.open ? 'nothing stands in the way' : 'not yet'}</Tag> {a.name}{!a.hub && ', which the hub itself has no more'}
      </p>
      <Who list={a.users} text={['device has it', 'devices have it']} />
      <Who list={a.unknown} text={['device has not said what it has', 'devices have not said what they have']} />
      <Who list={a.unsent} text={['device gave it up, with work on the way that may name it', 'devices gave it up, with work on the way that may name it']} />
      {a.parked.length > 0 && (
        <p>
          {plural(a.parked.length, 'transaction')} in quarantine {a.parked.length === 1 ? 'names' : 'name'} it:{' '}
          {a.parked.slice(0, 20).map((id) => (
            <a key={id} className="mono" href={href(['quarantine', id])}>{short(id)} </a>
          ))}
        </p>
      )}
    </div>
  );
}

function Who({ list, text }: { list: SchemaDevice[]; text: [string, string] }) {
  if (list.length === 0) return null;
  return (
    <p>
      {plural(list.length, text[0], text[1])}:{' '}
      {list.slice(0, 40).map((d, i) => (
        <span key={d.id}>
          {i > 0 && ', '}
          <a href={href(['device', d.id])}>{d.name || short(d.id)}</a>
        </span>
      ))}
      {list.length > 40 && ` and ${list.length - 40} more`}
    </p>
  );
}
