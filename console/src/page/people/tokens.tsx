import { Button, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { Role, type Person } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf, type Fault } from '../../hub/fault';
import { Ask, type Question } from '../../ui/ask';
import { Ago, Empty, FaultNote, Loading } from '../../ui/parts';
import { Pick } from '../../ui/tabs';
import { say } from '../../ui/toast';
import { Secret } from './secret';
import { roleName, roleOptions } from './roles';

/** Tokens are how scripts and the command line come in. */
export function Tokens() {
  const client = useQueryClient();
  const q = useQuery({ queryKey: ['people', 'tokens'], queryFn: ({ signal }) => hub.people.listTokens({}, { signal }) });
  const [question, setQuestion] = useState<Question>();
  const again = () => void client.invalidateQueries({ queryKey: ['people'] });
  const remove = (t: Person) =>
    setQuestion({
      title: `Remove the token ${t.name}`,
      text: 'Whatever uses it is refused at once.',
      verb: 'Remove',
      danger: true,
      run: async () => {
        await hub.people.removeToken({ id: t.id }).finally(again);
        say(`The token ${t.name} was removed`);
      },
    });
  return (
    <div className="stack">
      <p className="dim">
        For scripts and the command line: <code>tidemark device list --hub {window.location.origin} --token …</code>, or <code>Authorization: Bearer</code>.
      </p>
      <Make done={again} />
      <FaultNote fault={q.error ? faultOf(q.error) : undefined} retry={() => void q.refetch()} />
      {q.isPending && !q.error && <Loading what="tokens" />}
      {q.data?.tokens.length === 0 && <Empty title="No tokens." />}
      {!!q.data?.tokens.length && (
        <div className="sheet scroll-x" tabIndex={0} role="region" aria-label="Tokens">
          <table className="plain">
            <thead>
              <tr>
                <th>Name</th>
                <th>Role</th>
                <th>Made</th>
                <th>Last used</th>
                <th>
                  <span className="hidden-label">actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {q.data.tokens.map((t) => (
                <tr key={t.id}>
                  <td>{t.name}</td>
                  <td>{roleName(t.role)}</td>
                  <td>
                    <Ago t={t.created} />
                  </td>
                  <td>{t.seen ? <Ago t={t.seen} /> : <span className="dim">never</span>}</td>
                  <td>
                    <Button size="compact-sm" variant="default" onClick={() => remove(t)}>
                      Remove
                    </Button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Ask question={question} onClose={() => setQuestion(undefined)} />
    </div>
  );
}

function Make({ done }: { done: () => void }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState(String(Role.VIEWER));
  const [made, setMade] = useState<{ name: string; secret: string }>();
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<Fault>();
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    setFault(undefined);
    try {
      const r = await hub.people.addToken({ name: name.trim(), role: Number(role) });
      setMade({ name: name.trim(), secret: r.secret });
      setName('');
    } catch (err) {
      setFault(faultOf(err));
    } finally {
      setBusy(false);
      done();
    }
  };
  return (
    <section className="sheet" aria-label="New token">
      <form className="in row" onSubmit={(e) => void submit(e)}>
        <TextInput aria-label="Name of the token" placeholder="What it is for" value={name} onChange={(e) => setName(e.currentTarget.value)} required />
        <Pick label="Role of the token" value={role} onChange={setRole} options={roleOptions} />
        <Button type="submit" variant="default" loading={busy} disabled={name.trim() === ''}>
          Make a token
        </Button>
      </form>
      {(fault || made) && (
        <div className="in stack">
          <FaultNote fault={fault} />
          {made && <Secret text={made.secret} what="token" note={`The token ${made.name}. It is shown only now.`} onClose={() => setMade(undefined)} />}
        </div>
      )}
    </section>
  );
}
