# One Worker and its Durable Objects, kept in SQLite on disk. The command line gives the address (--socket-addr) and the
# data folder (--directory-path).
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "objects", disk = (writable = true)),
  ],
  sockets = [ (name = "http", http = (), service = "main") ],
);

const worker :Workerd.Worker = (
  modules = [ (name = "worker.js", esModule = embed "worker.js") ],
  compatibilityDate = "2026-05-01",
  durableObjectNamespaces = [ (className = "Account", uniqueKey = "account-v1", enableSql = true) ],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [ (name = "ACCOUNT", durableObjectNamespace = "Account") ],
);
