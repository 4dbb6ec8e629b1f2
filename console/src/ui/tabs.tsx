import './split.css';

/** Tabs are addresses too: each is a link. */
export function Tabs({ label, tabs, at }: { label: string; tabs: { name: string; label: string; to: string; n?: number }[]; at: string }) {
  return (
    <nav className="tabs" aria-label={label}>
      {tabs.map((t) => (
        <a key={t.name} href={t.to} aria-current={t.name === at ? 'page' : undefined}>
          {t.label}
          {!!t.n && <span className="num"> ({t.n})</span>}
        </a>
      ))}
    </nav>
  );
}

/** Pick is the browser's own choice list: keyboards and phones know it. */
export function Pick({ label, value, onChange, options, any }: { label: string; value: string; onChange: (v: string) => void; options: { value: string; label: string }[]; any?: string }) {
  return (
    <select className="pick" aria-label={label} value={value} onChange={(e) => onChange(e.currentTarget.value)}>
      {any !== undefined && <option value="">{any}</option>}
      {value !== '' && !options.some((o) => o.value === value) && <option value={value}>{value}</option>}
      {options.map((o) => (
        <option key={o.value} value={o.value}>
          {o.label}
        </option>
      ))}
    </select>
  );
}
