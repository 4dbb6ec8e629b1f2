import { ParkedList } from '../quarantine/parked';

/** Inbox is what waits for a person to decide: the quarantine's part with the code "manual". */
export function Inbox() {
  return <ParkedList base="conflicts" code="manual" none={{ title: 'Nothing waits for a decision.', text: 'Columns with the policy “manual” bring their conflicts here.' }} />;
}
