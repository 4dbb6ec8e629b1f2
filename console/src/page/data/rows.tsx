import { create } from '@bufbuild/protobuf';
import { Button } from '@mantine/core';
import { KeySchema, type Row, type Table } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { usePages } from '../../hub/query';
import { keyText, parseKey } from '../../format/value';
import { draftOf, parse } from '../../edit/value';
import { go, href, setQuery, useRoute } from '../../route/router';
import { useCursor } from '../../ui/list';
import { Empty, FaultNote, Loading, Tag, Val } from '../../ui/parts';
import { Pick } from '../../ui/tabs';
import { Search } from '../fleet/fleet';
import { useScopes, useTables } from './use';

/** rowKey takes a row's key out of its values, by the table's key columns. */
export function rowKey(row: Row, columns: string[], table: Table | undefined): string {
  const names = (table?.columns ?? []).filter((c) => c.key).map((c) => c.name);
  const values = names.map((n) => row.values[columns.indexOf(n)]).filter((v) => v !== undefined);
  return keyText(create(KeySchema, { values }));
}

/** typedKey reads a key that was typed as people write it: values with commas between, by the columns' types. */
export function typedKey(text: string, table: Table | undefined) {
  const cols = (table?.columns ?? []).filter((c) => c.key);
  const parts = cols.length > 1 ? text.split(',').map((s) => s.trim()) : [text];
  if (cols.length === 0 || parts.length !== cols.length) return undefined;
  const values = [];
  for (const [i, c] of cols.entries()) {
    const p = parse({ ...draftOf(undefined), null: false, text: parts[i]! }, { name: c.name, type: c.type });
    if (!p.ok) return undefined;
    values.push(p.value);
  }
  return create(KeySchema, { values });
}

export function RowsPage({ table: name }: { table: string }) {
  const { query } = useRoute();
  const scope = query.get('scope') ?? '';
  const search = query.get('q') ?? '';
  const table = useTables().data?.tables.find((t) => t.name === name);
  const scopes = useScopes().data?.scopes ?? [];
  const key = search ? (parseKey(search) ?? typedKey(search, table)) : undefined;
  const pages = usePages(
    ['data', 'rows', name, scope, keyText(key)],
    (pageToken, signal) => hub.data.rows({ table: name, scope, key, page: { pageSize: 200, pageToken } }, { signal }),
    (r) => ({ items: r.rows, next: r.nextPageToken }),
  );
  const columns = pages.first?.columns ?? table?.columns.map((c) => c.name) ?? [];
  const keys = pages.items.map((r) => rowKey(r, columns, table));
  const cursor = useCursor(keys, { title: 'Rows', open: (k) => go(href(['data', name, k])) });
  const keyNames = (table?.columns ?? []).filter((c) => c.key).map((c) => c.name);
  return (
    <>
      <div className="filters" role="search" aria-label="Which rows">
        <Search value={search} label={`Find by ${keyNames.join(', ') || 'key'}`} />
        <Pick label="Scope" any="all granted scopes" value={scope} onChange={(s) => setQuery({ scope: s })} options={scopes.map((s) => ({ value: s.scope, label: s.scope }))} />
        {table?.notServed && <Tag tone="alarm">not served: {table.notServed}</Tag>}
        {search && !key && table && <span className="is-warning small">Not a key of {name}: {keyNames.join(', ')}</span>}
      </div>
      {pages.items.length === 0 && <FaultNote fault={pages.fault} />}
      {pages.loading && !pages.fault && <Loading what="rows" />}
      {!pages.loading && !pages.fault && pages.items.length === 0 && <Empty title="No rows here.">{(scope || search) && <a href={href(['data', name])}>Show all</a>}</Empty>}
      {pages.items.length > 0 && (
        <div className="sheet scroll-x" tabIndex={0} role="region" aria-label={`Rows of ${name}`}>
          <table className="plain rows-table cards">
            <thead>
              <tr>
                {columns.map((c) => (
                  <th key={c}>{c}</th>
                ))}
                <th>scope</th>
                <th>
                  <span className="hidden-label">history</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {pages.items.map((r, i) => (
                <tr key={keys[i] || i} data-at={cursor.at === i || undefined}>
                  {r.values.map((v, j) => (
                    <td key={j} data-label={columns[j]} className={v.kind.case === 'integer' || v.kind.case === 'real' ? 'num' : ''}>
                      <Val v={v} />
                    </td>
                  ))}
                  <td className="dim" data-label="scope"><span>{r.scope}</span></td>
                  <td>{keys[i] && <a href={href(['data', name, keys[i]])}>history</a>}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {pages.more && (
        <div>
          <Button variant="default" onClick={pages.loadMore} loading={pages.fetching}>
            More rows
          </Button>
        </div>
      )}
    </>
  );
}
