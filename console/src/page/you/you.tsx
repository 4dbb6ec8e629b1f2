import '../enrol/enrol.css';
import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import type { Person } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { useAppState } from '../../hub/query';
import { go } from '../../route/router';
import { Qr } from '../../ui/qr';
import { Ago, Fact, Tag } from '../../ui/parts';
import { say } from '../../ui/toast';
import { makePasskey, passkeys } from '../entrance/passkey';
import { useForm } from '../entrance/entrance';
import { roleName } from '../people/roles';

export default function YouPage() {
  const you = useAppState().data?.you;
  const client = useQueryClient();
  const { run, busy, fault } = useForm();
  if (!you) return null;
  const again = () => client.invalidateQueries({ queryKey: ['state'] });
  const out = (everywhere: boolean) =>
    run(async () => {
      await hub.entrance.logout({ everywhere });
      go('#/fleet', true);
      await client.resetQueries();
    });
  return (
    <div className="page enrol">
      <div className="title">
        <h1>{you.name}</h1>
        <Tag>{roleName(you.role)}</Tag>
        <span className="grow" />
        <Button variant="default" onClick={out(false)} loading={busy}>
          Log out
        </Button>
        <Button variant="default" onClick={out(true)} loading={busy}>
          Log out everywhere
        </Button>
      </div>
      {fault}
      {!you.token && (
        <>
          <Passkeys you={you} again={again} />
          <Totp you={you} again={again} />
          <Password again={again} />
        </>
      )}
    </div>
  );
}

function Passkeys({ you, again }: { you: Person; again: () => Promise<unknown> }) {
  const [label, setLabel] = useState('');
  const { run, busy, fault } = useForm();
  const add = run(async () => {
    const o = await hub.entrance.beginPasskey({});
    await hub.entrance.finishPasskey({ ceremony: o.ceremony, json: await makePasskey(o.json), label: label.trim() });
    setLabel('');
    say('Passkey added');
    await again();
  });
  const remove = (id: string) =>
    run(async () => {
      await hub.entrance.removePasskey({ id });
      say('Passkey removed');
      await again();
    })();
  return (
    <section className="sheet" aria-label="Passkeys">
      <header>
        <h2>Passkeys</h2>
        <span className="dim small">A passkey replaces password and code, and cannot be phished.</span>
      </header>
      <div className="in stack">
        {you.passkeys.length === 0 && <p className="dim">You have none.</p>}
        <ul className="stack">
          {you.passkeys.map((k) => (
            <li key={k.id} className="row">
              <span className="grow">
                {k.label || 'Passkey'} <span className="small dim">made <Ago t={k.created} />{k.used && <>, used <Ago t={k.used} /></>}</span>
              </span>
              <Button size="compact-sm" variant="default" onClick={() => remove(k.id)}>
                Remove
              </Button>
            </li>
          ))}
        </ul>
        {fault}
        {passkeys() ? (
          <form className="row" onSubmit={add}>
            <TextInput aria-label="What to call it" placeholder="What to call it, such as laptop" value={label} onChange={(e) => setLabel(e.currentTarget.value)} />
            <Button type="submit" loading={busy}>
              Add a passkey
            </Button>
          </form>
        ) : (
          <p className="dim">This browser has no passkeys here.</p>
        )}
      </div>
    </section>
  );
}

function Totp({ you, again }: { you: Person; again: () => Promise<unknown> }) {
  const [made, setMade] = useState<{ secret: string; uri: string }>();
  const [proof, setProof] = useState<'change' | 'remove'>();
  const { run, busy, fault } = useForm();
  const begin = run(async () => setMade(await hub.entrance.beginTotp({})));
  const close = () => {
    setMade(undefined);
    setProof(undefined);
  };
  return (
    <section className="sheet" aria-label="Codes">
      <header>
        <h2>Codes from an app</h2>
        {you.totp ? <Tag tone="ok">on</Tag> : <Tag>off</Tag>}
      </header>
      <div className="in stack">
        {!made && (
          <div className="row">
            <span className="dim">With a password, six digits from an authenticator app are asked for too.</span>
            <span className="grow" />
            {you.totp ? (
              <>
                <Button variant="default" onClick={() => setProof('change')} aria-expanded={proof === 'change'}>
                  Change the app
                </Button>
                <Button variant="default" onClick={() => setProof('remove')} aria-expanded={proof === 'remove'}>
                  Turn off
                </Button>
              </>
            ) : (
              <Button variant="default" onClick={begin} loading={busy}>
                Set up
              </Button>
            )}
          </div>
        )}
        {!made && fault}
        {!made && proof && <Proof key={proof} to={proof} made={setMade} done={close} again={again} />}
        {made && <NewApp made={made} done={close} again={again} />}
      </div>
    </section>
  );
}

interface ProofProps {
  to: 'change' | 'remove';
  made: (m: { secret: string; uri: string }) => void;
  done: () => void;
  again: () => Promise<unknown>;
}

/** Proof asks for the password and a code: who only sits down at an open browser must not be able to take the second lock off. */
function Proof({ to, made, done, again }: ProofProps) {
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const { run, busy, fault } = useForm();
  const submit = run(async () => {
    const proof = { password, code: code.replace(/\s/g, '') };
    if (to === 'change') {
      made(await hub.entrance.beginTotp(proof));
      return;
    }
    await hub.entrance.removeTotp(proof);
    done();
    say('Logging in by password asks for no code any more');
    await again();
  });
  return (
    <form className="stack" onSubmit={submit} aria-label={to === 'change' ? 'Change the app' : 'Turn codes off'}>
      <PasswordInput label="Password" value={password} onChange={(e) => setPassword(e.currentTarget.value)} autoComplete="current-password" />
      <Digits label="Six digits, as the app shows them now" value={code} onChange={setCode} />
      {fault}
      <div className="row">
        <Button type="submit" loading={busy} color={to === 'remove' ? 'red' : undefined}>
          {to === 'change' ? 'Go on to the new app' : 'Turn codes off'}
        </Button>
        <Button variant="default" onClick={done}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

function Digits({ label, value, onChange }: { label: string; value: string; onChange: (s: string) => void }) {
  return <TextInput label={label} value={value} onChange={(e) => onChange(e.currentTarget.value)} inputMode="numeric" autoComplete="one-time-code" pattern="[0-9 ]{6,7}" required />;
}

function NewApp({ made, done, again }: { made: { secret: string; uri: string }; done: () => void; again: () => Promise<unknown> }) {
  const [code, setCode] = useState('');
  const { run, busy, fault } = useForm();
  const finish = run(async () => {
    await hub.entrance.finishTotp({ code: code.replace(/\s/g, '') });
    done();
    say('Logging in by password asks for a code from now on');
    await again();
  });
  return (
    <form className="token" onSubmit={finish}>
      <div className="stack">
        <p>Scan the code with your app, or type the secret into it. Then type the six digits that it shows.</p>
        <dl className="facts">
          <Fact name="Secret">
            <span className="mono">{made.secret.replace(/(.{4})/g, '$1 ')}</span>
          </Fact>
        </dl>
        <Digits label="Six digits" value={code} onChange={setCode} />
        {fault}
        <div className="row">
          <Button type="submit" loading={busy}>
            Turn on
          </Button>
          <Button variant="default" onClick={done}>
            Cancel
          </Button>
        </div>
      </div>
      <Qr text={made.uri} label="The secret as a QR code" />
    </form>
  );
}

function Password({ again }: { again: () => Promise<unknown> }) {
  const [old, setOld] = useState('');
  const [next, setNext] = useState('');
  const { run, busy, fault } = useForm();
  const short = next !== '' && next.length < 12;
  const submit = run(async () => {
    await hub.entrance.setPassword({ old, new: next });
    setOld('');
    setNext('');
    say('Password changed');
    await again();
  });
  return (
    <section className="sheet" aria-label="Password">
      <header>
        <h2>Password</h2>
      </header>
      <form className="in stack" onSubmit={submit}>
        <PasswordInput label="Old password" value={old} onChange={(e) => setOld(e.currentTarget.value)} autoComplete="current-password" />
        <PasswordInput label="New password" description="12 characters or more." value={next} onChange={(e) => setNext(e.currentTarget.value)} autoComplete="new-password" required error={short && 'Too short: 12 characters or more.'} />
        {fault}
        <div>
          <Button type="submit" variant="default" loading={busy} disabled={short || next === ''}>
            Change password
          </Button>
        </div>
      </form>
    </section>
  );
}
