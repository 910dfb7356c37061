"""install.sh --demo: somebody who reads their mail at webmail, as with a browser.

    demo_webmail.py URL USER PASSWORD SUBJECT

It signs in, opens the inbox and the message of that subject, and shows what the page says. Exit code 0, or a sentence.
"""

import html
import re
import sys
import urllib.error
import urllib.parse
import urllib.request


def main(url, user, password, subject):
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    browser.addheaders = [("Accept-Language", "en")]

    def ask(address, **form):
        with browser.open(address, urllib.parse.urlencode(form).encode() or None, timeout=60) as answer:
            return answer.url, answer.read().decode("utf-8", "replace")

    def text(page):
        return html.unescape(re.sub(r"<[^>]*>", "", page)).replace("\xa0", " ").strip()

    try:
        place, page = ask(url, username=user, password=password, inpublic="1", **{"do.login": "1"})
        if "form=folders" not in place:
            sys.exit(f"{user} cannot sign in at {url}: {text(page)[:300]}")
        print(f"   {user} signs in at {url}", flush=True)
        base = place.partition("?")[0]
        _, page = ask(f"{base}?folder=INBOX&form=folder&pos=0")
        for row in re.findall(r'<tr class="folder-index-bg-\d".*?</tr>', page, re.S):
            sender, what = (text(re.search(rf'class="message-{name}">(.*?)</td>', row, re.S)[1]) for name in ("from", "subject"))
            if what == subject:
                number = re.search(r'name="MOVEFILE-(\d+)"', row)[1]
                _, page = ask(f"{base}?folder=INBOX&form=readmsg&pos={number}")
                lines = [text(line) for line in page[page.index("<article"):page.index("</article>")].splitlines()]
                print(f"   and reads, in a browser: {sender}: {what}")
                for line in [line for line in lines if line][-2:]:
                    print(f"   | {line}")
                break
        else:
            sys.exit(f"the message is not in the inbox of {user}")
        ask(f"{base}?folder=INBOX&form=logout")
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
