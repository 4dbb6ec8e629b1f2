import './split.css';
import type { ReactNode } from 'react';
import { Checkbox } from '@mantine/core';

/** Split is a list beside what is chosen in it; on a phone one takes the other's place. */
export function Split({ list, detail, chosen, back }: { list: ReactNode; detail: ReactNode; chosen: boolean; back: string }) {
  return (
    <div className="split" data-chosen={chosen || undefined}>
      <div className="split-list">{list}</div>
      <section className="split-detail" aria-label="Chosen">
        {chosen && (
          <a className="split-back small" href={back}>
            ← Back to the list
          </a>
        )}
        {detail}
      </section>
    </div>
  );
}

interface ItemProps {
  to: string;
  at: boolean;
  label: string; // what the box selects, in words
  picked?: boolean;
  onPick?: () => void;
  children: ReactNode;
}

/** Item is one line of a split's list: a link, with a box to select it where there are deeds for many. */
export function Item({ to, at, label, picked, onPick, children }: ItemProps) {
  return (
    <li className="item" data-at={at || undefined} data-picked={picked || undefined} ref={at ? reveal : undefined}>
      {onPick && <Checkbox size="xs" aria-label={`Select ${label}`} checked={!!picked} onChange={onPick} />}
      <a href={to} aria-current={at ? 'true' : undefined}>
        {children}
      </a>
    </li>
  );
}

function reveal(el: HTMLElement | null) {
  el?.scrollIntoView?.({ block: 'nearest' });
}
