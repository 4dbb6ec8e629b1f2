import type { ReactNode } from 'react';
import { useEffect, useState } from 'react';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { Button } from '@mantine/core';
import { Level, type Value } from '../gen/tidemark/admin/v1/admin_pb';
import type { Fault } from '../hub/fault';
import { hubNow } from '../hub/live';
import { ago, full } from '../format/time';
import { isAbsent, isNull, plain } from '../format/value';
import { toneOf } from '../format/level';

/** Mark is a level's shape: told apart without colour too. */
export function Mark({ level }: { level: Level }) {
  const tone = toneOf(level);
  const shape = {
    ok: <circle cx="5" cy="5" r="3.4" fill="none" stroke="currentColor" strokeWidth="1.8" />,
    notice: <circle cx="5" cy="5" r="4.2" fill="currentColor" />,
    warning: <path d="M5 .8 9.6 9.2H.4z" fill="currentColor" />,
    alarm: <rect x=".8" y=".8" width="8.4" height="8.4" rx="1" fill="currentColor" />,
  }[tone];
  return (
    <svg className={`mark is-${tone}`} viewBox="0 0 10 10" role="img" aria-label={tone}>
      {shape}
    </svg>
  );
}

export function Tag({ tone, children, title }: { tone?: string; children: ReactNode; title?: string }) {
  return (
    <span className={`tag ${tone ?? ''}`} title={title}>
      {children}
    </span>
  );
}

/** useNow is the hub's time, told again every few seconds. */
export function useNow(every = 5_000): number {
  const [now, setNow] = useState(hubNow);
  useEffect(() => {
    const t = setInterval(() => setNow(hubNow()), every);
    return () => clearInterval(t);
  }, [every]);
  return now;
}

export function Ago({ t }: { t: Timestamp | undefined }) {
  const now = useNow();
  return (
    <time title={full(t)} className="nowrap">
      {ago(t, now)}
    </time>
  );
}

/** Val shows a value as it is: NULL, numbers, text with its blanks, bytes. */
export function Val({ v, absent = '—' }: { v: Value | undefined; absent?: string }) {
  if (isAbsent(v)) return <span className="dim">{absent}</span>;
  if (isNull(v)) return <span className="value-null">NULL</span>;
  const s = plain(v);
  if (s === '') return <span className="value-null">empty text</span>;
  return <span className="value">{s}</span>;
}

export function FaultNote({ fault, retry }: { fault: Fault | undefined; retry?: () => void }) {
  if (!fault) return null;
  return (
    <div className="note alarm" role="alert">
      <strong>{fault.text}</strong> {fault.hint}{' '}
      {retry && (
        <Button size="compact-sm" variant="default" onClick={retry} ml={6}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** Empty says that there is nothing, and what to do. alone: it is all that the page has, and its heading. */
export function Empty({ title, children, alone }: { title: string; children?: ReactNode; alone?: boolean }) {
  return (
    <div className="empty">
      {alone ? <h1>{title}</h1> : <strong>{title}</strong>}
      {children}
    </div>
  );
}

/** Loading waits a moment before it says so: most answers come sooner. */
export function Loading({ what }: { what: string }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const t = setTimeout(() => setLate(true), 250);
    return () => clearTimeout(t);
  }, []);
  return (
    <div className="empty" role="status">
      {late ? `Asking the hub for ${what} …` : ' '}
    </div>
  );
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
