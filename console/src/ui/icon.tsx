const paths = {
  fleet: 'M3 5h14M3 10h14M3 15h9',
  conflicts: 'M4 3v3c0 3 6 4 6 8v3M16 3v3c0 3-6 4-6 8',
  quarantine: 'M4 4h12v12H4zM4 9h12M8 13h4',
  data: 'M3 5c0-3 14-3 14 0v10c0 3-14 3-14 0zM3 5c0 3 14 3 14 0M3 10c0 3 14 3 14 0',
  enrol: 'M10 4v12M4 10h12',
  people: 'M7 9a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2 17c0-6 10-6 10 0M14 9a2.5 2.5 0 1 0-1-4.8M14.500 12c2 .3 3.500 2 3.500 5',
  you: 'M10 10a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM3.500 17.500c0-7 13-7 13 0',
  more: 'M4 10h.01M10 10h.01M16 10h.01',
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg width="18" height="18" viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth={name === 'more' ? 3 : 1.6} strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

export function Brand() {
  return (
    <svg width="28" height="28" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#0b5f69" />
      <path d="M5 13c3.7 0 3.7-3 7.3-3s3.7 3 7.4 3 3.6-3 7.3-3" fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" />
      <path d="M5 22h22" stroke="#9fe0e2" strokeWidth="2.6" strokeLinecap="round" />
    </svg>
  );
}
