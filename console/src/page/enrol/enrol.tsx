import './enrol.css';
import { Button, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { DeviceState, type Device } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf, type Fault } from '../../hub/fault';
import { useRole } from '../../hub/query';
import { useDraft } from '../../edit/draft';
import { plural } from '../../format/number';
import { full } from '../../format/time';
import { go, href, useRoute } from '../../route/router';
import { Copy } from '../../ui/copy';
import { Qr } from '../../ui/qr';
import { Ago, Empty, FaultNote } from '../../ui/parts';
import { Pick } from '../../ui/tabs';
import { GrantEditor, everything, readGrants, type GrantDraft } from './grants';
import { steps } from './steps';

interface Made {
  token: string;
  expires: string;
  name: string;
}

/** EnrolPage makes a join token and then, at #/enrol/ID, waits until the device has its data. */
export default function EnrolPage() {
  const { parts } = useRoute();
  const { operator } = useRole();
  if (!operator) return <Empty alone title="Enrolling needs the role operator." />;
  return <div className="page enrol">{parts[1] ? <Arrival id={parts[1]} /> : <Form />}</div>;
}

function Form() {
  const client = useQueryClient();
  const [draft, setDraft, drop] = useDraft<{ name: string; grants: GrantDraft[]; hours: string }>('enrol', { name: '', grants: [everything], hours: '24' });
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<Fault>();
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    setFault(undefined);
    try {
      const r = await hub.fleet.add({ name: draft.name.trim(), grants: readGrants(draft.grants), goodFor: { seconds: BigInt(draft.hours) * 3600n } });
      const made: Made = { token: r.token, expires: full(r.expires), name: draft.name.trim() };
      // The token is shown once: it lives in this tab's memory, and nowhere else.
      client.setQueryData(['made', r.device?.id], made);
      drop();
      void client.invalidateQueries({ queryKey: ['fleet'] });
      go(href(['enrol', r.device?.id ?? '']));
    } catch (err) {
      setFault(faultOf(err));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <div className="title">
        <h1>Enrol a device</h1>
      </div>
      <form className="sheet" onSubmit={(e) => void submit(e)}>
        <div className="in stack">
          <TextInput label="Name" description="What people call it, such as the site and its place." value={draft.name} onChange={(e) => setDraft({ ...draft, name: e.currentTarget.value })} required maxLength={200} />
          <GrantEditor initial={draft.grants} onChange={(grants) => setDraft({ ...draft, grants })} />
          <div className="row">
            <span>The token is good for</span>
            <Pick label="Good for" value={draft.hours} onChange={(hours) => setDraft({ ...draft, hours })} options={[{ value: '1', label: 'an hour' }, { value: '24', label: 'a day' }, { value: '168', label: 'a week' }]} />
          </div>
          <FaultNote fault={fault} />
          <div>
            <Button type="submit" loading={busy} disabled={draft.name.trim() === '' || readGrants(draft.grants).length === 0}>
              Make the token
            </Button>
          </div>
        </div>
      </form>
    </>
  );
}

function Arrival({ id }: { id: string }) {
  const made = useQuery<Made | null>({ queryKey: ['made', id], queryFn: () => null, staleTime: Infinity, gcTime: Infinity }).data;
  const q = useQuery({ queryKey: ['device', id], queryFn: ({ signal }) => hub.fleet.get({ id }, { signal }), refetchInterval: (x) => (arrived(x.state.data?.device) ? false : 3_000) });
  const d = q.data?.device;
  if (!d) return <><h1>Enrol a device</h1><FaultNote fault={q.error ? faultOf(q.error) : undefined} retry={() => void q.refetch()} /></>;
  const waiting = d.state === DeviceState.INVITED;
  const command = made ? `tidemark join '${made.token}' app.db` : '';
  return (
    <>
      <div className="title">
        <h1>Enrol {d.name}</h1>
      </div>
      {waiting && made && (
        <section className="sheet" aria-label="Token">
          <header>
            <h2>Run this at the device</h2>
            <span className="dim small">app.db is its database. The token works once, until {made.expires}, and is shown only here.</span>
          </header>
          <div className="in token">
            <div className="stack">
              <div className="copyable">
                <pre className="code" aria-label="Command">{command}</pre>
                <Copy text={command} what="command" />
              </div>
              <div className="copyable">
                <pre className="code" aria-label="Token">{made.token}</pre>
                <Copy text={made.token} what="token" />
              </div>
            </div>
            <Qr text={made.token} label="The token as a QR code" />
          </div>
        </section>
      )}
      {waiting && !made && <div className="note">The token was shown once and is not kept. If it was lost, revoke <a href={href(['device', id])}>this device</a> and <a href="#/enrol">enrol anew</a>.</div>}
      <section className="sheet" aria-label="Arrival">
        <div role="status">
          <ol className="in steps">
            {steps(d).map((s, i) => (
              <li key={i} data-state={s.state}>
                <i aria-hidden="true" />
                <span>
                  {s.text}
                  {s.state === 'now' && ' …'}
                </span>
              </li>
            ))}
          </ol>
        </div>
      </section>
      {arrived(d) && (
        <div className="note">
          <strong>{d.name} has its data.</strong> <Ago t={d.progress ?? d.seen} />, {plural(d.grants.length, 'scope')}. <a href={href(['device', d.id])}>Look at it</a> or <a href="#/enrol">enrol another one</a>.
        </div>
      )}
    </>
  );
}

function arrived(d: Device | undefined): boolean {
  return !!d && steps(d).every((s) => s.state === 'done');
}
