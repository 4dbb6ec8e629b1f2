import './quarantine.css';
import type { Parked } from '../../gen/tidemark/admin/v1/admin_pb';
import { short } from '../../format/number';
import { href } from '../../route/router';
import { Tag } from '../../ui/parts';
import { title } from './words';

/** A transaction and those that wait for it. */
export interface Node {
  id: string;
  parked?: Parked; // absent: it is not in quarantine (any more), or not known here
  children: Node[];
}

/**
 * forest draws what waits for what: each transaction under the first one that it depends
 * on. One that waits for several hangs under the last of them, for that one holds it up
 * longest; a circle, which no hub makes, is cut.
 */
export function forest(all: Parked[]): Node[] {
  const byId = new Map(all.map((p) => [p.id, p]));
  const nodes = new Map<string, Node>();
  const node = (id: string): Node => {
    let n = nodes.get(id);
    if (!n) nodes.set(id, (n = { id, parked: byId.get(id), children: [] }));
    return n;
  };
  const parent = new Map<string, string>();
  for (const p of all) {
    const up = p.dependsOn[p.dependsOn.length - 1];
    node(p.id);
    if (up !== undefined && !reaches(parent, up, p.id)) {
      parent.set(p.id, up);
      node(up).children.push(node(p.id));
    }
  }
  return [...nodes.values()].filter((n) => !parent.has(n.id));
}

function reaches(parent: Map<string, string>, from: string, to: string): boolean {
  for (let at: string | undefined = from; at !== undefined; at = parent.get(at)) if (at === to) return true;
  return false;
}

export function Tree({ all, at, base }: { all: Parked[]; at: string; base: string[] }) {
  return (
    <ul className="tree">
      {forest(all).map((n) => (
        <Branch key={n.id} n={n} at={at} base={base} />
      ))}
    </ul>
  );
}

function Branch({ n, at, base }: { n: Node; at: string; base: string[] }) {
  const p = n.parked;
  return (
    <li>
      <div className="leaf" data-at={n.id === at || undefined}>
        {p ? (
          <>
            <Tag tone={p.code === 'depends' ? undefined : 'warning'}>{p.code}</Tag>{' '}
            {n.id === at ? <b>{title(p)}</b> : <a href={href([...base, n.id])}>{title(p)}</a>}
          </>
        ) : (
          <span className="dim">
            <span className="mono">{short(n.id)}</span>, not in quarantine
          </span>
        )}
      </div>
      {n.children.length > 0 && (
        <ul>
          {n.children.map((c) => (
            <Branch key={c.id} n={c} at={at} base={base} />
          ))}
        </ul>
      )}
    </li>
  );
}
