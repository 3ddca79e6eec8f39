// Starts the page: the list of traces, or one trace.
import { render } from "preact";
import { TraceApp } from "./app";
import { HttpSource } from "./data/source";
import { IndexPage } from "./screens/index";
import { listenForKeys } from "./state/commands";
import { inks } from "./state/theme";
import { followAddress } from "./state/view";
import "./styles/app.css";

const place = document.getElementById("app");
if (place) {
  inks.subscribe(() => {}); // Sets the theme on the page, and keeps it set.
  listenForKeys();
  const { key } = place.dataset;
  if (key !== undefined) {
    followAddress("query");
    place.replaceChildren();
    render(<TraceApp source={new HttpSource(key)} />, place);
  } else if (document.body.dataset.page === "index") {
    place.replaceChildren();
    render(<IndexPage />, place);
  }
}
