import DefaultTheme from "vitepress/theme"
import type { Theme } from "vitepress"
import Flavours from "./components/Flavours.vue"
import Playground from "./components/Playground.vue"
import "./style.css"

export default {
  extends: DefaultTheme,
  enhanceApp: ({ app }) => {
    app.component("Flavours", Flavours)
    app.component("Playground", Playground)
  }
} satisfies Theme
