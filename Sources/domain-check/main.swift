// domain-check: does the DNS say what is needed so that mail for a domain reaches a host, and mail from it is believed?
//
// Runs as a user of its own. It asks the host's resolver and believes nothing of what comes back, which whoever holds the domain wrote.
// Before it asks it has read what it needs and locked itself in: it can open no file, and does nothing but ask and answer.
import DNS
import Program
import Unix

let usage = """
    usage: domain-check [-u USER] HOST DOMAIN < keys
    Says of each record that mail for and from DOMAIN needs, HOST being its mail server, whether the DNS has it, a line
    for each with TABs: mx, spf, dkim or dmarc; ok, missing, wrong or unknown; the name; what is wanted; what was found.
    Standard input has a line for each DKIM key, its name and its text with a TAB between them; or nothing.
    Exit codes: 0 the MX record leads to HOST, 100 it does not, 111 nobody can say now.

      -u USER    become USER (a name, or UID:GID) first

    """

/// Ten seconds for all of it: a person waits.
let limitSeconds = 10

Program.run(usage) { options, environment in
    var options = options
    try options.parse("u:")
    let host = try name(options.next("the host"), "host"), domain = try name(options.next("the domain"), "domain")
    try options.end()
    if let user = options.value("u") { try Become.user(Program.user(user)) }
    Process.endAfter(seconds: limitSeconds)
    let questions = try Questions()
    try Lock.lock()

    let keys = try WantedKey.read(Descriptor.standardInput)
    let exchangers = questions.exchangers(domain)
    let mx = Finding.exchanger(domain, host, exchangers)
    try mx.say()
    try SPF(domain, host, exchangers, questions).finding.say()
    for key in keys { try key.finding(questions).say() }
    try Finding.policy(domain, questions).say()
    switch mx.state {
    case .ok: return .done
    case .missing, .wrong: return .failed
    case .unknown: return .tryAgain
    }
}

/// In the form in which it is asked for.
func name(_ text: String, _ what: String) throws -> [UInt8] {
    guard let name = DomainName.ascii(Array(text.utf8)), name.contains(0x2e) else { throw UsageError("\(text) is no name of a \(what)") }
    return name
}
