"""The portal in Chromium: both languages, a desk and a phone, the keyboard alone, without JavaScript; and pictures to look at.

Pictures are written into the directory that SEMAIL_PICTURES names, if it is set.
"""

import os
import re
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from portallab import PASSWORDS, Named, PortalHouse
from semailtest import await_true, tool
from test_portal import key_line, write_logs, WAITING

PICTURES = os.environ.get("SEMAIL_PICTURES")
DESK, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def lived():
    """ssow has a mailbox with a container that provision once knew; what is asked for is taken up by nobody."""
    with PortalHouse(settings={"own-domains": "yes"}) as house:
        house.make_mailbox("ssow")
        house.stop()
        path = house.home / "mailboxes/ssow@ssow.semail.test"
        path.write_text(path.read_text() + "container 172.30.0.3\n")
        (house.home / "ssh/ssow").mkdir(exist_ok=True)
        (house.home / "ssh/ssow/authorized_keys").write_text(key_line("ssow@laptop") + "\n" + key_line("ssow@phone") + "\n")
        (house.home / "run/containers/ssow").write_text(f"running\t{int(time.time()) - 86400}\n")
        write_logs(house)
        yield house


class Chromium:
    def __init__(self, house, language="en", size=DESK, script=True, dark=False):
        options = webdriver.ChromeOptions()
        options.binary_location = tool("chromium")
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb", f"--window-size={size[0]},{size[1]}", f"--lang={language}"):
            options.add_argument(word)
        preferences = {"intl.accept_languages": {"en": "en-GB,en", "fr": "fr-FR,fr,en"}[language]}
        if not script:
            preferences["profile.managed_default_content_settings.javascript"] = 2
        options.add_experimental_option("prefs", preferences)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.chrome.service.Service(tool("chromedriver"))
        self.driver = webdriver.Chrome(service=service, options=options)
        self.driver.set_page_load_timeout(60)
        self.root = f"http://127.0.0.1:{house.port}"
        self.size, self.language, self.script = size, language, script
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def get(self, path):
        self.driver.get(self.root + path)
        return self

    @property
    def path(self):
        return re.sub(r"^https?://[^/]*", "", self.driver.current_url)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    @property
    def text(self):
        return self.find("body").text

    def fill(self, selector, text):
        element = self.find(selector)
        element.clear()
        element.send_keys(text)
        return element

    def press(self, selector):
        self.find(selector).click()
        return self

    def sign_in(self, user="ssow"):
        self.get("/sign-in")
        self.fill("#user", user)
        self.fill("#password", PASSWORDS[user])
        self.press("main form button")
        # A click may return before the page it leads to begins to load.
        assert await_true(lambda: not self.path.startswith("/sign-in"), 30), self.text
        return self

    def await_text(self, text, seconds=60):
        def is_there():
            try:
                return text in self.text
            except Exception:
                # The page is just being replaced.
                return False
        assert await_true(is_there, seconds, 0.05), f"{text!r} is not on {self.path}:\n{self.text}"

    def picture(self, name):
        if PICTURES:
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            metrics = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": self.size[0], "height": min(4000, int(metrics["height"])), "deviceScaleFactor": 1, "mobile": self.size[0] < 600})
            self.driver.save_screenshot(str(Path(PICTURES) / f"{name}.png"))
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": self.size[0], "height": self.size[1], "deviceScaleFactor": 1, "mobile": self.size[0] < 600})

    def check(self, name=None):
        """Fits on the screen; everything can be reached and has a name; the browser has nothing to complain of."""
        if name:
            self.picture(f"{name}-{self.language}-{self.size[0]}")
        if self.script:
            wide = self.driver.execute_script("return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && getComputedStyle(e).position !== 'absolute' && !e.closest('.skip')).map(e => e.outerHTML.slice(0, 80))")
            assert self.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth + 1"), wide
            small = self.driver.execute_script("return [...document.querySelectorAll('button, .button, input:not([type=hidden]):not([type=radio]), textarea')].filter(e => e.offsetParent && e.getBoundingClientRect().height < 40).map(e => e.outerHTML.slice(0, 80))")
            assert not small, small
            nameless = self.driver.execute_script("""
                return [...document.querySelectorAll('input:not([type=hidden]), textarea, select')].filter(e => !e.labels.length && !e.ariaLabel).concat(
                    [...document.querySelectorAll('button, a')].filter(e => !(e.textContent.trim() || e.ariaLabel))).map(e => e.outerHTML.slice(0, 80))""")
            assert not nameless, nameless
            levels = self.driver.execute_script("return [...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])")
            assert levels.count(1) == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:])), levels
            twice = self.driver.execute_script("const seen = {}; for (const e of document.querySelectorAll('[id]')) seen[e.id] = (seen[e.id] || 0) + 1; return Object.keys(seen).filter(k => seen[k] > 1)")
            assert not twice, twice
            poor = self.driver.execute_script(CONTRAST)
            assert not poor, poor
        for landmark in ("header", "main", "footer"):
            assert len(self.all(landmark)) == 1
        assert self.find("html").get_attribute("lang") == self.language
        complaints = [entry["message"] for entry in self.driver.get_log("browser") if "favicon" not in entry["message"] and not re.search(r"status of (403|404|422)", entry["message"])]
        assert not complaints, complaints
        return self


# Text whose contrast with what is behind it is less than 4.5 (WCAG 1.4.3).
CONTRAST = """
const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1]; };
const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0.99) return c; } return [255, 255, 255, 1]; };
const poor = [];
for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg') || !e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.push(ratio.toFixed(2) + ' ' + e.outerHTML.slice(0, 90));
}
return poor;
"""

SIZES = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
LANGUAGES = pytest.mark.parametrize("language", ["en", "fr"])


@LANGUAGES
@SIZES
def test_every_page(lived, language, size):
    with Chromium(lived, language, size) as chromium:
        chromium.get("/").check("sign-in")
        chromium.fill("#user", "ssow")
        chromium.fill("#password", "wrong")
        chromium.press("main form button")
        chromium.await_text({"en": "is not right", "fr": "n'est pas le bon"}[language])
        chromium.check("sign-in-wrong")
        chromium.sign_in()
        assert chromium.path == "/home"
        chromium.check("home")
        assert not chromium.find("button.copy").get_attribute("hidden")
        chromium.get("/log").check("log")
        chromium.get(f"/log/{WAITING}").check("message")
        chromium.get("/rebuild").check("rebuild")
        chromium.get("/delete").check("delete")
        chromium.get("/home")
        chromium.fill("#key", "hello")
        chromium.press("#keys > form button")
        assert await_true(lambda: chromium.all("#key-error"), 20)
        chromium.check("key-error")
        chromium.get("/nowhere").check("nothing")
        # The switch leads back to where one was.
        chromium.get("/log").press(".tools a")
        assert await_true(lambda: chromium.find("html").get_attribute("lang") != language, 20)
        assert chromium.path == "/log" and chromium.find("html").get_attribute("lang") != language


@LANGUAGES
@SIZES
def test_choosing_an_address(lived, language, size):
    with Chromium(lived, language, size) as chromium:
        chromium.sign_in("xredon")
        assert chromium.path == "/create"
        free, taken = {"en": ("is free", "is taken"), "fr": ("est libre", "est déjà prise")}[language]
        chromium.await_text(free)
        chromium.check("create")
        chromium.fill("#name", "ssow")
        chromium.fill("#subdomain", "ssow")
        chromium.await_text(taken)
        chromium.fill("#name", "anna")
        chromium.press("label[for=kind-own]")
        chromium.fill("#own", "anna.example")
        chromium.await_text("anna@anna.example " + free)
        chromium.check("create-own")


@LANGUAGES
@SIZES
def test_administration(lived, language, size):
    import math
    now = int(time.time())
    (lived.home / "run/depth").write_text("".join(f"{now - 60 * minute}\t{int(20 + 18 * math.sin(minute / 90) + (minute * 7919) % 9)}\n" for minute in range(1430, 0, -1)))
    current = (lived.logs / "qrunner/current").read_text()
    lines = []
    for minute in range(1400, 0, -3):
        stamp = time.strftime("%Y-%m-%d_%H:%M:%S", time.gmtime(now - 60 * minute)) + ".5"
        what = "failed" if minute % 97 == 0 else "deferred" if minute % 11 == 0 else "relayed"
        lines += [f"{stamp} qrunner: info: {what} id=1k0z3zqffjwaf{minute % 1000:03d} to=a@b.test host=x status=4.0.0 reason=busy"] * (1 + int(6 + 5 * math.sin(minute / 150)))
    (lived.logs / "qrunner/current").write_text("\n".join(lines) + "\n" + current)
    with Chromium(lived, language, size) as chromium:
        chromium.sign_in("xredon")
        chromium.get("/admin").check("admin")
        chromium.press("details summary").check("admin-change")
        chromium.get("/admin/queue").check("queue")
    (lived.logs / "qrunner/current").write_text(current)


@LANGUAGES
@SIZES
def test_records_of_ones_own_domain(language, size):
    with PortalHouse() as house:
        names = Named(house)
        try:
            names.publish("anna.example. TXT \"v=spf1 -all\"", "_dmarc.anna.example. TXT \"v=DMARC1; p=none\"")
            house.await_end(house.ask("create", owner="ssow", address="anna@anna.example"))
            with Chromium(house, language, size) as chromium:
                chromium.sign_in()
                chromium.await_text({"en": "missing", "fr": "absent"}[language])
                assert await_true(lambda: len(chromium.all(".record.ok")) == 1 and len(chromium.all(".record.missing")) >= 1, 20)
                chromium.check("records")
                names.publish("anna.example. MX 10 mail.semail.test.", "anna.example. TXT \"v=spf1 mx -all\"", "_dmarc.anna.example. TXT \"v=DMARC1; p=none\"")
                # What is known is asked anew after some seconds.
                def is_green():
                    chromium.press("a[data-reload]")
                    return await_true(lambda: chromium.all(".record.ok"), 3) and len(chromium.all(".record.ok")) >= 3
                assert await_true(is_green, 30, 1), chromium.text
                chromium.check("records-good")
                chromium.press("[data-load] form button")
                chromium.await_text({"en": "Done.", "fr": "C'est fait."}[language])
                assert await_true(lambda: chromium.path.startswith("/home"), 10)
                house.is_whole("ssow", "anna@anna.example")
        finally:
            names.stop()


def test_the_copy_buttons(lived):
    with Chromium(lived) as chromium:
        chromium.sign_in()
        chromium.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": chromium.root})
        chromium.press("button[data-copy=ssh]")
        copied = chromium.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0], e => arguments[0](String(e)))")
        assert copied == "ssh -J semail-ssh@mail.semail.test ssow@172.30.0.3"


@pytest.mark.parametrize("language, size, script", [("en", DESK, True), ("fr", PHONE, True), ("fr", DESK, False), ("en", PHONE, False)])
def test_from_nothing_to_nothing(language, size, script):
    words = {"en": ("Create your mailbox", "Your mailbox is ready", "Delete the mailbox", "Nothing is left of it."),
             "fr": ("Créer votre boîte", "Votre boîte est prête", "Supprimer la boîte", "Il n'en reste rien.")}[language]
    with PortalHouse() as house, Chromium(house, language, size, script) as chromium:
        chromium.sign_in()
        chromium.await_text(words[0])
        chromium.fill("#name", "ssow")
        chromium.press("main form button")
        chromium.await_text(words[1])
        chromium.check(f"made{'' if script else '-plain'}")
        assert len(chromium.all(".steps li.done")) == 5
        house.is_whole("ssow", "ssow@ssow.semail.test")
        chromium.press("main a.primary")
        chromium.await_text("ssow@ssow.semail.test")
        # Two columns on a desk, one on a phone.
        columns = chromium.all(".grid")[0].value_of_css_property("grid-template-columns").split()
        assert len(columns) == (2 if size == DESK else 1), columns
        chromium.check(f"new-home{'' if script else '-plain'}")
        chromium.press("a[href='/delete']")
        chromium.await_text(words[2])
        chromium.fill("#typed", "ssow@ssow.semail.test")
        chromium.press("main form button")
        chromium.await_text(words[3])
        chromium.check(f"unmade{'' if script else '-plain'}")
        assert house.mailbox("ssow@ssow.semail.test") is None


def test_the_keyboard_alone():
    with PortalHouse() as house, Chromium(house) as chromium:
        def active():
            return chromium.driver.switch_to.active_element

        def tab_to(selector, most=40):
            for _ in range(most):
                active().send_keys(Keys.TAB)
                if active() in chromium.all(selector):
                    # What has the focus can be seen.
                    outline = active().value_of_css_property("outline-style")
                    assert outline != "none" or active().get_attribute("type") == "radio", selector
                    return active()
            raise AssertionError(f"{selector} is not reached by Tab")

        chromium.get("/sign-in")
        # First of all a way past what is on every page.
        skip = tab_to("a.skip", 1)
        assert skip.location["x"] >= 0
        skip.send_keys(Keys.ENTER)
        tab_to("#user").send_keys("ssow")
        tab_to("#password").send_keys(PASSWORDS["ssow"], Keys.ENTER)
        chromium.await_text("Create your mailbox")
        tab_to("#name").send_keys(Keys.CONTROL, "a")
        active().send_keys("keys.only")
        tab_to("input[type=radio]").send_keys(Keys.ARROW_DOWN)
        assert chromium.find("#kind-own").is_selected()
        active().send_keys(Keys.ARROW_UP)
        assert chromium.find("#kind-subdomain").is_selected()
        tab_to("#subdomain").send_keys("keyboard")
        tab_to("main form button").send_keys(Keys.ENTER)
        chromium.await_text("Your mailbox is ready")
        assert house.mailbox("keys.only@keyboard.semail.test")


def test_in_the_dark(lived):
    for size in (DESK, PHONE):
        with Chromium(lived, "en", size, dark=True) as chromium:
            chromium.get("/sign-in").check("dark-sign-in")
            chromium.sign_in()
            chromium.check("dark-home")
            chromium.get("/log").check("dark-log")
            chromium.get("/delete").check("dark-delete")
