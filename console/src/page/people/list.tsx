import { Button, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { Role, type Person } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf, type Fault } from '../../hub/fault';
import { useAppState } from '../../hub/query';
import { full } from '../../format/time';
import { plural } from '../../format/number';
import { Ask, type Question } from '../../ui/ask';
import { Ago, FaultNote, Loading, Tag } from '../../ui/parts';
import { Pick } from '../../ui/tabs';
import { say } from '../../ui/toast';
import { Secret } from './secret';
import { roleName, roleOptions } from './roles';

export function List() {
  const client = useQueryClient();
  const you = useAppState().data?.you;
  const q = useQuery({ queryKey: ['people', 'list'], queryFn: ({ signal }) => hub.people.list({}, { signal }) });
  const [question, setQuestion] = useState<Question>();
  const again = () => void client.invalidateQueries({ queryKey: ['people'] });
  const setRole = (p: Person, role: Role) =>
    setQuestion({
      title: `Make ${p.name} ${roleName(role)}`,
      text: 'What they do now, in any browser, goes on under the new role at once.',
      verb: 'Change role',
      run: async () => {
        await hub.people.setRole({ id: p.id, role, version: p.version }).finally(again);
        say(`${p.name} is ${roleName(role)} now`);
      },
    });
  const remove = (p: Person) =>
    setQuestion({
      title: `Remove ${p.name}`,
      text: 'Their sessions end at once. What they did stays in the audit.',
      verb: 'Remove',
      danger: true,
      run: async () => {
        await hub.people.remove({ id: p.id, version: p.version }).finally(again);
        say(`${p.name} was removed`);
      },
    });
  const [link, setLink] = useState<{ name: string; link: string; until: string }>();
  const reset = (p: Person) =>
    setQuestion({
      title: `Let ${p.name} in anew`,
      text: 'Password, codes, passkeys and sessions end at once; a one-time link lets them set up new ones. For who lost them.',
      verb: 'Make a link',
      danger: true,
      run: async () => {
        const r = await hub.people.reset({ id: p.id, version: p.version }).finally(again);
        setLink({ name: p.name, link: r.link, until: full(r.expires) });
      },
    });
  return (
    <div className="stack">
      <Invite done={again} />
      {link && <Secret text={link.link} what="link" note={`Give this link to ${link.name}. It works once, until ${link.until}, and is shown only now.`} onClose={() => setLink(undefined)} />}
      <FaultNote fault={q.error ? faultOf(q.error) : undefined} retry={() => void q.refetch()} />
      {q.isPending && !q.error && <Loading what="people" />}
      {q.data && (
        <div className="sheet scroll-x" tabIndex={0} role="region" aria-label="People">
          <table className="plain cards">
            <thead>
              <tr>
                <th>Name</th>
                <th>Role</th>
                <th>Comes in by</th>
                <th>Last seen</th>
                <th>
                  <span className="hidden-label">actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {q.data.people.map((p) => (
                <tr key={p.id}>
                  <td data-label="Name">
                    <span>
                    {p.name} {p.id === you?.id && <span className="dim">(you)</span>} {p.invited && <Tag tone="notice">invited</Tag>}
                    </span>
                  </td>
                  <td data-label="Role">
                    <Pick label={`Role of ${p.name}`} value={String(p.role)} onChange={(v) => setRole(p, Number(v))} options={roleOptions.map((o) => ({ ...o, label: o.label.split(':')[0]! }))} />
                  </td>
                  <td data-label="Comes in by"><span>{p.invited ? '—' : ways(p)}</span></td>
                  <td data-label="Last seen">{p.seen ? <Ago t={p.seen} /> : <span className="dim">never</span>}</td>
                  <td>
                    <span className="row">
                      <Button size="compact-sm" variant="default" onClick={() => reset(p)}>
                        Reset
                      </Button>
                      <Button size="compact-sm" variant="default" onClick={() => remove(p)}>
                        Remove
                      </Button>
                    </span>
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

function ways(p: Person): string {
  const out = ['password' + (p.totp ? ' and code' : '')];
  if (p.passkeys.length) out.unshift(plural(p.passkeys.length, 'passkey'));
  return out.join(', ');
}

function Invite({ done }: { done: () => void }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState(String(Role.OPERATOR));
  const [made, setMade] = useState<{ name: string; link: string; until: string }>();
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<Fault>();
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    setFault(undefined);
    try {
      const r = await hub.people.invite({ name: name.trim(), role: Number(role) });
      setMade({ name: name.trim(), link: r.link, until: full(r.expires) });
      setName('');
    } catch (err) {
      setFault(faultOf(err));
    } finally {
      setBusy(false);
      done();
    }
  };
  return (
    <section className="sheet" aria-label="Invite">
      <form className="in row" onSubmit={(e) => void submit(e)}>
        <TextInput aria-label="Name of who is invited" placeholder="Name" value={name} onChange={(e) => setName(e.currentTarget.value)} required />
        <Pick label="Role of who is invited" value={role} onChange={setRole} options={roleOptions} />
        <Button type="submit" variant="default" loading={busy} disabled={name.trim() === ''}>
          Invite
        </Button>
      </form>
      {(fault || made) && (
        <div className="in stack">
          <FaultNote fault={fault} />
          {made && <Secret text={made.link} what="link" note={`Give this link to ${made.name}. It works once, until ${made.until}, and is shown only now.`} onClose={() => setMade(undefined)} />}
        </div>
      )}
    </section>
  );
}
