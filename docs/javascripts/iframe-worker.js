// The search of a page that is opened as a file: browsers start no worker there, so its script runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = Object.assign(document.createElement("iframe"), { hidden: true, title: "search" });
      document.documentElement.append(frame);
      const inside = frame.contentWindow;
      const send = inside.postMessage.bind(inside);
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = inside.document.createElement("script");
      const loaded = new Promise(done => { script.onload = done; });
      this.postMessage = data => loaded.then(() => send(data, "*"));
      script.src = address;
      inside.document.head.append(script);
    }
  };
}
