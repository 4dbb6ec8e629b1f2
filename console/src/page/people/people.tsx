import { useRoute } from '../../route/router';
import { useRole } from '../../hub/query';
import { Tabs } from '../../ui/tabs';
import { Audit } from './audit';
import { List } from './list';
import { Tokens } from './tokens';

export default function PeoplePage() {
  const { query } = useRoute();
  const { admin } = useRole();
  const tab = query.get('tab') ?? (admin ? 'people' : 'audit');
  const tabs = [
    { name: 'people', label: 'People', to: '#/people?tab=people' },
    { name: 'tokens', label: 'Tokens', to: '#/people?tab=tokens' },
    { name: 'audit', label: 'Audit', to: '#/people?tab=audit' },
  ].filter((t) => admin || t.name === 'audit');
  return (
    <div className="page">
      <div className="title">
        <h1>People</h1>
      </div>
      <Tabs label="People" at={tab} tabs={tabs} />
      {!admin || tab === 'audit' ? <Audit /> : tab === 'tokens' ? <Tokens /> : <List />}
    </div>
  );
}
