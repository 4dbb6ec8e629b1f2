import { createClient, type Client, type Transport } from '@connectrpc/connect';
import { Conflicts, Data, Entrance, Fleet, People, Quarantine } from '../gen/tidemark/admin/v1/admin_pb';
import { transport } from './transport';

export interface Clients {
  entrance: Client<typeof Entrance>;
  people: Client<typeof People>;
  fleet: Client<typeof Fleet>;
  conflicts: Client<typeof Conflicts>;
  quarantine: Client<typeof Quarantine>;
  data: Client<typeof Data>;
}

export function makeClients(t: Transport): Clients {
  return {
    entrance: createClient(Entrance, t),
    people: createClient(People, t),
    fleet: createClient(Fleet, t),
    conflicts: createClient(Conflicts, t),
    quarantine: createClient(Quarantine, t),
    data: createClient(Data, t),
  };
}

export const hub: Clients = makeClients(transport);
