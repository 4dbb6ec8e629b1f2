import { ParkedList } from './parked';

export default function QuarantinePage() {
  return (
    <div className="page">
      <div className="title">
        <h1>Quarantine</h1>
        <span className="dim">Transactions that could not be applied. Their work is safe here, and waits.</span>
      </div>
      <ParkedList base="quarantine" none={{ title: 'The quarantine is empty.', text: 'All that was handed in could be applied.' }} />
    </div>
  );
}
