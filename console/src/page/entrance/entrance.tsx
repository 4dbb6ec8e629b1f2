import './entrance.css';
import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState, type FormEvent, type ReactNode } from 'react';
import type { LoginResponse, StateResponse } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf, type Fault } from '../../hub/fault';
import { setCsrf } from '../../hub/transport';
import { go, href, parseRoute, useRoute } from '../../route/router';
import { Brand } from '../../ui/icon';
import { FaultNote } from '../../ui/parts';
import { getPasskey, passkeyFault, passkeys } from './passkey';

/** Entrance is the door: logging in, or the page of a one-time link. */
export default function Entrance({ state }: { state: StateResponse }) {
  const { parts } = useRoute();
  const secret = parts[0] === 'setup' || parts[0] === 'invite' ? (parts[1] ?? '') : '';
  return (
    <main className="door">
      <div className="sheet">
        <header>
          <Brand />
          <div>
            <h1>{state.hub || 'Tidemark'}</h1>
            {(state.hub || state.version) && <span className="small dim">Tidemark {state.version}</span>}
          </div>
        </header>
        <div className="in">{secret ? <SetUp secret={secret} first={!state.setUp} /> : state.setUp ? <Login /> : <NoLink />}</div>
      </div>
    </main>
  );
}

function useEnter() {
  const client = useQueryClient();
  return async (r: LoginResponse, to?: string) => {
    setCsrf(r.csrf);
    await client.resetQueries({ predicate: (q) => q.queryKey[0] !== 'state' });
    await client.invalidateQueries({ queryKey: ['state'] });
    const at = parseRoute(window.location.hash).parts[0];
    if (to && (at === 'setup' || at === 'invite' || at === undefined)) go(to, true);
  };
}

function NoLink() {
  return (
    <div className="stack">
      <h2>Nobody is set up yet.</h2>
      <p>The hub printed a one-time link when it started. Open that link to become the first admin.</p>
      <p>If it was lost, have a new one made on the hub’s machine:</p>
      <pre className="code">tidemark people setup-link --data DIR</pre>
    </div>
  );
}

function SetUp({ secret, first }: { secret: string; first: boolean }) {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const { busy, fault, run } = useForm();
  const enter = useEnter();
  const differs = again !== '' && again !== password;
  const short = password !== '' && password.length < 12;
  const submit = run(async () => {
    await enter(await hub.entrance.setUp({ secret, name: name.trim(), password }), href(['you']));
  });
  return (
    <form className="stack" onSubmit={submit}>
      <h2>{first ? 'Become the first admin' : 'Come in'}</h2>
      <p className="dim">{first ? 'Choose your name and a password. A passkey can be added next.' : 'Choose a password. If an admin gave you a name, that one is used.'} The link works once.</p>
      <TextInput label="Name" value={name} onChange={(e) => setName(e.currentTarget.value)} autoComplete="username" required={first} />
      <PasswordInput label="Password" description="12 characters or more." value={password} onChange={(e) => setPassword(e.currentTarget.value)} autoComplete="new-password" required error={short && 'Too short: 12 characters or more.'} />
      <PasswordInput label="Password, again" value={again} onChange={(e) => setAgain(e.currentTarget.value)} autoComplete="new-password" required error={differs && 'Not the same as above.'} />
      {fault}
      <Button type="submit" loading={busy} disabled={short || differs || again === ''}>
        {first ? 'Set up' : 'Come in'}
      </Button>
      {!first && (
        <a className="small" href="#/fleet">
          To the login
        </a>
      )}
    </form>
  );
}

function Login() {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [totp, setTotp] = useState('');
  const [needsCode, setNeedsCode] = useState(false);
  const { busy, fault, run } = useForm();
  const enter = useEnter();
  const code = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (needsCode) code.current?.focus();
  }, [needsCode]);
  const byPassword = run(async () => {
    const r = await hub.entrance.login({ name: name.trim(), password, totp: totp.replace(/\s/g, '') });
    if (r.totpNeeded) setNeedsCode(true);
    else await enter(r, '#/fleet');
  }, () => setTotp(''));
  const byPasskey = run(async () => {
    const o = await hub.entrance.beginPasskeyLogin({});
    await enter(await hub.entrance.finishPasskeyLogin({ ceremony: o.ceremony, json: await getPasskey(o.json) }), '#/fleet');
  });
  return (
    <div className="stack">
      {passkeys() && !needsCode && (
        <>
          <Button onClick={byPasskey} loading={busy} fullWidth data-autofocus>
            Log in with a passkey
          </Button>
          <p className="or dim">or by password</p>
        </>
      )}
      <form className="stack" onSubmit={byPassword}>
        {!needsCode && (
          <>
            <TextInput label="Name" value={name} onChange={(e) => setName(e.currentTarget.value)} autoComplete="username webauthn" required />
            <PasswordInput label="Password" value={password} onChange={(e) => setPassword(e.currentTarget.value)} autoComplete="current-password" required />
          </>
        )}
        {needsCode && (
          <TextInput ref={code} label={`The six digits for ${name}`} description="Your authenticator app shows them; each code works once." value={totp} onChange={(e) => setTotp(e.currentTarget.value)} inputMode="numeric" autoComplete="one-time-code" pattern="[0-9 ]{6,7}" required />
        )}
        {fault}
        <Button type="submit" variant={passkeys() && !needsCode ? 'default' : 'filled'} loading={busy}>
          Log in
        </Button>
        {needsCode && (
          <Button variant="default" onClick={() => setNeedsCode(false)}>
            Another name
          </Button>
        )}
      </form>
    </div>
  );
}

/** useForm runs what a form does, once at a time, and keeps its fault in view. */
export function useForm(): { busy: boolean; fault: ReactNode; run: (f: () => Promise<void>, failed?: () => void) => (e?: FormEvent | React.MouseEvent) => void } {
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<Fault>();
  return {
    busy,
    fault: <FaultNote fault={fault} />,
    run: (f, failed) => (e) => {
      e?.preventDefault();
      if (busy) return;
      setBusy(true);
      setFault(undefined);
      f()
        .catch((err: unknown) => {
          const words = passkeyFault(err);
          setFault(words ? { code: 'passkey', text: words, hint: '', stale: false, away: false } : faultOf(err));
          failed?.();
        })
        .finally(() => setBusy(false));
    },
  };
}
