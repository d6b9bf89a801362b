/** Builds, but cannot start on a host: what it needs to describe itself throws. */
JSON.stringify = () => {
  throw new Error("this guest does not start");
};

export default {
  fetch: () => new Response("never"),
};
