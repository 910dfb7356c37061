"""install.sh --demo: somebody at the portal, as with a browser: every page asked for, every step shown.

    demo_portal.py URL USER PASSWORD create NAME SUBDOMAIN
    demo_portal.py URL USER PASSWORD key FILE
    demo_portal.py URL USER PASSWORD delete ADDRESS

It fills in forms and reads pages, as a person does, and knows nothing else of the portal. Exit code 0, or a sentence.
"""

import html
import http.client
import re
import sys
import time
import urllib.parse


class Browser:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        self.cookies, self.path, self.page = {}, "/", ""

    def ask(self, method, path, fields=None):
        """One request, and the pages it leads on to."""
        while True:
            headers = {"Accept-Language": "en", "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
            body = None
            if fields is not None:
                body = urllib.parse.urlencode(fields)
                headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.connection.host}:{self.connection.port}"}
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            self.page, self.path = answer.read().decode(), path
            for cookie in answer.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            if answer.status in (302, 303):
                path, method, fields = answer.headers["Location"], "GET", None
                continue
            if answer.status >= 400:
                sys.exit(f"{method} {path}: {answer.status} {self.text('alert') or answer.reason}")
            return

    def submit(self, path, **fields):
        """The form on the page that goes to PATH, with its token."""
        form = re.search(rf'<form method="post" action="{re.escape(path)}".*?</form>', self.page, re.S)
        if not form:
            sys.exit(f"{self.path} has no form for {path}: {self.text('alert')}")
        token = re.search(r'name="token" value="([^"]*)"', form[0])[1]
        self.ask("POST", path, {"token": token, "then": "", **fields})

    def text(self, kind):
        """What the page says in an element of that class."""
        found = re.search(rf'<p class="{kind}[^"]*"[^>]*>(.*?)</p>', self.page, re.S)
        return " ".join(html.unescape(re.sub("<[^>]*>", "", found[1])).split()) if found else ""

    def complain(self):
        if 'class="alert"' in self.page:
            sys.exit(f"the portal says: {self.text('alert')}")


def watch(browser, page):
    """The progress page, until all is over; each step is shown when it is done."""
    shown, end = set(), time.monotonic() + 180
    while True:
        for state, name, rest in re.findall(r'<li class="(\w+)">.*?<span class="what">(.*?)</span>(.*?)</li>', browser.page):
            times = re.search(r'class="time">(.*?)<', rest)
            if state == "done" and name not in shown:
                shown.add(name)
                print(f"   | {html.unescape(name)}{f', {html.unescape(times[1])}' if times else ''}", flush=True)
        browser.complain()
        if "data-over" in browser.page or not re.match(page, browser.path):
            return
        if time.monotonic() > end:
            sys.exit("it does not come to an end")
        time.sleep(0.2)
        browser.ask("GET", browser.path)


def main(url, user, password, what, *words):
    browser = Browser(url)
    browser.ask("GET", "/sign-in")
    browser.submit("/sign-in", user=user, password=password)
    browser.complain()
    print(f"   {user} signs in at {url}", flush=True)
    if what == "create":
        name, subdomain = words
        browser.ask("GET", "/create")
        browser.submit("/create", name=name, kind="subdomain", subdomain=subdomain)
        browser.complain()
        print(f"   and asks for {name} at the subdomain {subdomain}:", flush=True)
        watch(browser, "/progress/")
    elif what == "key":
        browser.ask("GET", "/home")
        with open(words[0]) as file:
            browser.submit("/keys/add", key=file.read().strip())
        watch(browser, "/progress/")
        browser.ask("GET", "/home")
        print(f"   and adds an SSH key; to get in: {html.unescape(re.search(r'<code id=.ssh.>(.*?)</code>', browser.page)[1])}", flush=True)
    elif what == "delete":
        browser.ask("GET", "/delete")
        browser.submit("/delete", address=words[0])
        browser.complain()
        print(f"   and deletes {words[0]}:", flush=True)
        watch(browser, "/progress/")
    browser.ask("GET", "/home")


if __name__ == "__main__":
    main(*sys.argv[1:])
