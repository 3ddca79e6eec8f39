// Starts the page: the list of traces, or one trace.
import { render } from "preact";
import { TraceApp } from "./app";
import { EmbeddedSource } from "./data/embedded";
import { HttpSource } from "./data/source";
import { IndexPage } from "./screens/index";
import { listenForKeys } from "./state/commands";
import { inks } from "./state/theme";
import { followAddress } from "./state/view";
import "./styles/app.css";

const place = document.getElementById("app");
const data = document.getElementById("trace-data")?.textContent;
inks.subscribe(() => {}); // Sets the theme on the page, and keeps it set.
if (place) {
  listenForKeys();
  const { key } = place.dataset;
  if (data) {
    followAddress("fragment");
    EmbeddedSource.unpack(data).then(
      (source) => {
        place.replaceChildren();
        render(<TraceApp source={source} />, place);
      },
      (error: unknown) => place.append(`This report cannot be shown: ${String(error)}`),
    );
  } else if (key !== undefined) {
    followAddress("query");
    place.replaceChildren();
    render(<TraceApp source={new HttpSource(key)} />, place);
  } else if (document.body.dataset.page === "index") {
    place.replaceChildren();
    render(<IndexPage />, place);
  }
}
