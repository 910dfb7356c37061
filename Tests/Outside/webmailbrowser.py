"""What a person does in a browser at the webmail: Chromium, driven within the machine that webmaillab.py makes.

    python3 webmailbrowser.py SCENARIO WIDTH DIRECTORY
    python3 webmailbrowser.py pages WIDTH DIRECTORY LANGUAGE USER PASSWORD

SCENARIO is the name of a function here; screenshots are left in DIRECTORY. A failure is an exception, said on standard error.
"""

import os
import sys
import time
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

SITE = "https://mail.semail.test"
SUBJECT = "Réunion d’été à Évry – 中文 ✓"
TEXT = "Bonjour,\n\nvoici le programme : thé, café, gâteaux.\nÀ bientôt"
ANSWER = "Merci, j’y serai !"


class Browser:
    def __init__(self, language, width, directory, height=900):
        options = Options()
        for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", f"--lang={language}", f"--window-size={max(width, 500)},{height}", "--hide-scrollbars",
                     "--ignore-certificate-errors", "--disable-background-networking", "--no-first-run"):
            options.add_argument(word)
        options.add_argument(f"--user-data-dir=/tmp/chromium-{os.getpid()}-{time.monotonic_ns()}")
        options.add_experimental_option("prefs", {"intl.accept_languages": language, "download.default_directory": "/tmp", "credentials_enable_service": False, "profile.password_manager_leak_detection": False})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(60)
        self.driver.implicitly_wait(15)
        # A window of Chromium cannot be so narrow; a phone can.
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
        self.directory, self.width, self.language, self.count = Path(directory), width, language, 0
        self.directory.mkdir(parents=True, exist_ok=True)

    def close(self):
        self.driver.quit()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- looking -------------------------------------------------------------

    def shot(self, name):
        self.count += 1
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        assert size["width"] <= self.width, f"{name} is {size['width']} pixels wide on a screen of {self.width}"
        image = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": self.width, "height": min(size["height"], 4000), "scale": 1}})
        import base64
        (self.directory / f"{self.language}-{self.width}-{self.count:02}-{name}.png").write_bytes(base64.b64decode(image["data"]))

    @property
    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def see(self, *words):
        end = time.monotonic() + 15
        while True:
            try:
                text = self.text
                missing = [word for word in words if word not in text]
            except WebDriverException:
                missing, text = words, "(a page on its way)"
            if not missing:
                return
            assert time.monotonic() < end, f"{missing} is not on the page:\n{text}"
            time.sleep(0.1)

    def element(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def requests(self):
        """Addresses that were asked for, by all pages so far."""
        import json
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found

    # -- doing ---------------------------------------------------------------

    def open(self, path=""):
        self.driver.get(SITE + path)

    def link(self, text):
        self.go(self.driver.find_element(By.LINK_TEXT, text))

    def fill(self, name, text):
        field = self.element(f"[name='{name}']")
        field.clear()
        field.send_keys(text)

    def go(self, element):
        """Clicks, and waits for the page that comes of it."""
        if isinstance(element, str):
            element = self.element(element)
        page = self.element("html")
        element.click()
        self._await(lambda: not page.is_enabled(), on_error=True)
        self._await(lambda: self.driver.execute_script("return document.readyState") == "complete")

    def _await(self, condition, on_error=False):
        """While a page goes and another comes, the driver may have no answer at all: then ON_ERROR is the answer."""
        end = time.monotonic() + 60
        while True:
            try:
                if condition():
                    return
            except WebDriverException:
                if on_error:
                    return
            assert time.monotonic() < end, f"the page does not change: {self.driver.current_url}"
            time.sleep(0.05)

    def press(self, name):
        self.go(f"[name='{name}']")

    def sign_in(self, user, password):
        self.open("/mail")
        self.fill("username", user)
        self.fill("password", password)
        self.press("do.login")

    def sign_out(self):
        self.go("a[href*='form=logout']")

    def inbox(self):
        self.go("nav a[href*='form=folders']")
        self.go("a.folderlink[href$='folder=INBOX']")


def story(browser):
    """ssow writes to xredon, with a file and accents; xredon reads, answers, moves, searches, deletes; ssow reads the answer."""
    b = browser
    b.open("/mail")
    b.shot("sign-in")
    b.see("Lire votre courrier")
    b.sign_in("ssow", "wrong")
    b.see("Cela n’a pas marché")
    b.shot("wrong-password")
    b.sign_in("ssow", "correct horse")
    b.see("Boîte de réception", "Envoyés", "ssow@semail.test")
    b.shot("folders")
    b.go("a[href*='newmsg=1']")
    b.fill("headerto", "xredon@semail.test")
    b.fill("headersubject", SUBJECT)
    b.fill("message", TEXT)
    b.shot("write")
    b.press("doattachments")
    b.see("Aucune pièce jointe")
    file = Path("/tmp/programme d’été.txt")
    file.write_text("1. Thé\n2. Café\n" * 500)
    b.element("[name='uploadfile']").send_keys(str(file))
    b.press("upload")
    b.see("programme")
    b.shot("attached")
    b.press("previewmsg")
    b.see(SUBJECT)
    b.shot("preview")
    b.press("sendmsg")
    b.see("Votre message est parti")
    b.shot("sent")
    b.go("a.folderlink[href$='folder=INBOX.Sent']")
    b.see(SUBJECT.split()[0])
    b.shot("sent-folder")
    b.sign_out()
    b.see("Lire votre courrier")

    b.sign_in("xredon@semail.test", "battery staple")
    b.see("1 non lus")
    b.go("a.folderlink[href$='folder=INBOX']")
    b.see("Réunion", "ssow@semail.test")
    b.shot("inbox")
    b.go(".message-subject a")
    b.see(SUBJECT, "voici le programme : thé, café, gâteaux.", "programme d’été.txt")
    b.shot("read")
    b.go("a[href*='reply=1']")
    assert b.element("[name='headersubject']").get_attribute("value") == "Re: " + SUBJECT
    assert "ssow@semail.test" in b.element("[name='headerto']").get_attribute("value")
    message = b.element("[name='message']")
    assert "> voici le programme" in message.get_attribute("value") and "a écrit :" in message.get_attribute("value")
    message.clear()
    message.send_keys(ANSWER)
    b.press("sendmsg")
    # What was answered is shown again.
    b.see("voici le programme")
    # A folder, and the message into it.
    b.go("nav a[href*='form=folders']")
    if not b.element("details").get_attribute("open"):
        b.element("summary").click()
    b.fill("foldername", "Été 2026")
    b.press("do.create")
    b.see("Été 2026")
    b.shot("new-folder")
    b.inbox()
    b.element("input[name='MOVE-0']").click()
    Select(b.element("select[name='moveto']")).select_by_visible_text("Été 2026")
    b.press("cmdmove")
    # Struck out, until one looks again.
    b.element("input[name='MOVE-0'][disabled]")
    b.shot("moved")
    b.inbox()
    b.see("Aucun message ici")
    b.go("nav a[href*='form=folders']")
    b.link("Été 2026")
    b.see("Réunion")
    b.fill("searchtxt", "gâteaux")
    b.press("do.search")
    b.see("Réunion")
    b.shot("found")
    b.fill("searchtxt", "choucroute")
    b.press("do.search")
    assert "Réunion" not in b.text, b.text
    b.go("nav a[href*='form=folders']")
    b.link("Été 2026")
    b.element("input[name='MOVE-0']").click()
    b.press("cmddel")
    b.element("input[name='MOVE-0'][disabled]")
    b.go("nav a[href*='form=folders']")
    b.go("a.folderlink[href$='folder=INBOX.Trash']")
    b.see("Réunion")
    b.shot("trash")
    b.go("nav a[href*='form=preferences']")
    b.shot("preferences")
    b.go("nav a[href*='form=abooklist']")
    b.shot("addresses")
    b.sign_out()

    b.sign_in("ssow", "correct horse")
    b.see("1 non lus")
    b.go("a.folderlink[href$='folder=INBOX']")
    b.go(".message-subject a")
    b.see("Re: " + SUBJECT, ANSWER)
    b.sign_out()
    elsewhere = [url for url in b.requests() if not url.startswith((SITE, "data:", "chrome"))]
    assert not elsewhere, elsewhere


def looks(browser):
    """The pages that one sees most, in English and in the dark."""
    b = browser
    b.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    b.open("/mail")
    b.see("Read your mail", "Sign in")
    b.shot("dark-sign-in")
    b.sign_in("ssow", "correct horse")
    b.see("Inbox", "Drafts", "Sent", "Trash")
    b.shot("dark-folders")
    b.element("summary").click()
    b.shot("dark-folders-open")
    b.inbox()
    b.see("Date", "From", "Subject") if b.width > 500 else None
    b.shot("dark-inbox")
    b.go(".message-subject a")
    b.see("Answer", "Forward")
    b.shot("dark-message")
    b.go("a[href*='form=quickadd']")
    b.see("Add to addresses")
    b.shot("dark-quick-add")
    b.fill("newnick1", "ann")
    b.press("addnick")
    b.go("nav a[href*='newmsg=1']")
    b.see("From addresses")
    b.shot("dark-write")
    b.go("nav a[href*='form=abooklist']")
    b.shot("dark-addresses")
    b.sign_out()


def samples(browser):
    """Every message of webmailsamples.py, opened. What fails is said for all of them at the end."""
    import webmailsamples
    b = browser
    b.sign_in("ssow", "correct horse")
    base = b.driver.current_url.partition("&form=")[0].partition("?")[0] + "?folder=INBOX"
    # SqWebMail takes up what is new when the folder is opened.
    b.inbox()
    b.driver.implicitly_wait(0)
    faults, shown = [], 0
    wanted = {sample.name: sample for sample in webmailsamples.samples()}
    for place in range(len(wanted)):
        b.driver.get(f"{base}&form=readmsg&pos={place}&fullheaders=1")
        source = b.driver.page_source
        name = next((name for name in sorted(wanted, key=len, reverse=True) if f"{name.replace(' ', '.')}@elsewhere.test" in source), None)
        b.driver.get(f"{base}&form=readmsg&pos={place}")
        text, title = b.text, b.driver.title
        if "RUN" in title:
            faults.append(f"{name or place}: a script has run")
        if not b.driver.find_elements(By.CSS_SELECTOR, "article.message") or not b.driver.find_elements(By.CSS_SELECTOR, ".bar .brand"):
            faults.append(f"{name or place}: no page of a message, but: {text[:300]!r} {b.driver.page_source[:600]!r}")
            continue
        if b.driver.find_elements(By.CSS_SELECTOR, "article script, article iframe, article object, article embed, article link, article meta, article form, article video"):
            faults.append(f"{name or place}: elements that a message may not have")
        # Nothing of a message lies over the page's own parts.
        menu = b.element(".bar .brand")
        if not b.driver.execute_script("const at = arguments[0].getBoundingClientRect(); return arguments[0].contains(document.elementFromPoint(at.x + at.width / 2, at.y + at.height / 2))", menu):
            faults.append(f"{name or place}: the page's head is covered")
        for words in wanted[name].shows if name else ():
            # A blank that must not break is a blank to whoever reads.
            if words not in text.replace("\u00a0", " "):
                faults.append(f"{name}: \"{words}\" is not shown: {text[-500:]!r}")
        if name:
            shown += 1
        if name in ("right to left", "handlers", "calendar", "names of files", "format flowed"):
            b.shot("sample-" + name.replace(" ", "-"))
    asked = [url for url in b.requests() if not url.startswith((SITE, "data:", "chrome"))]
    if asked:
        faults.append(f"asked for {asked}")
    print(f"{shown} of {len(wanted)} were told apart by their Message-ID")
    if shown < len(wanted) - 6:
        faults.append("most messages have one")
    assert not faults, "\n".join(faults)


def main():
    scenario, width, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    language = sys.argv[4] if len(sys.argv) > 4 else "fr"
    with Browser(language, width, directory) as browser:
        try:
            globals()[scenario](browser, *sys.argv[5:])
        except BaseException:
            try:
                browser.shot("failure")
            except Exception as error:
                print(error, file=sys.stderr)
            raise


if __name__ == "__main__":
    main()
