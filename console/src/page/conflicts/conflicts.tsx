import { useRoute } from '../../route/router';
import { useOverview } from '../../hub/query';
import { Tabs } from '../../ui/tabs';
import { Decided } from './decided';
import { Inbox } from './inbox';
import { WhatIf } from './whatif';

export default function ConflictsPage() {
  const { query } = useRoute();
  const tab = query.get('tab') ?? 'decided';
  const o = useOverview().data;
  return (
    <div className="page">
      <div className="title">
        <h1>Conflicts</h1>
      </div>
      <Tabs
        label="Conflicts"
        at={tab}
        tabs={[
          { name: 'decided', label: 'Decided by rule', to: '#/conflicts', n: o?.receiptsNew },
          { name: 'inbox', label: 'Waiting for a person', to: '#/conflicts?tab=inbox', n: o?.manual },
          { name: 'whatif', label: 'What if', to: '#/conflicts?tab=whatif' },
        ]}
      />
      {tab === 'inbox' ? <Inbox /> : tab === 'whatif' ? <WhatIf /> : <Decided />}
    </div>
  );
}
