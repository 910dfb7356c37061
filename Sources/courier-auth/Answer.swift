// What Courier is told. Pure, no I/O. Courier knows three kinds of answers: a person's data, FAIL, and none at all, which is how a
// program says that it cannot tell now.

enum Answer: Equatable {
    case person(Person)
    case people([Person])
    case no
    /// No word, and the end of the connection: Courier calls that a temporary failure.
    case later

    /// A person, as far as Courier must know them.
    struct Person: Equatable {
        let address: [UInt8]
        let uid: UInt32
        let gid: UInt32
        let home: String
        let maildir: String
    }

    /// nil: nothing is to be written.
    var encoded: [UInt8]? {
        switch self {
        case .no: Array("FAIL\n".utf8)
        case .later: nil
        case .person(let person):
            Array("UID=\(person.uid)\nGID=\(person.gid)\nHOME=\(person.home)\nADDRESS=".utf8) + person.address + Array("\nMAILDIR=\(person.maildir)\nOPTIONS=\(Answer.options)\n.\n".utf8)
        case .people(let people):
            people.flatMap { $0.address + Array("\t\($0.uid)\t\($0.gid)\t\($0.home)\t\($0.maildir)\t\(Answer.options)\n".utf8) } + Array(".\n".utf8)
        }
    }

    /// The password is the directory's, and webmail cannot change it; no folders of others.
    private static let options = "wbnochangepass=1,disableshared=1"
}

extension Answer.Person {
    /// Where SqWebMail is sent for a mailbox that is not open: to a place that cannot be there, as nobody. It says then that the mailbox
    /// cannot be opened, and not that the password is wrong, which it would say of every other answer.
    static func closed(_ address: [UInt8], _ why: String) -> Answer.Person {
        Answer.Person(address: address, uid: 65534, gid: 65534, home: "/", maildir: "/nonexistent/\(why)")
    }

    /// Lines and fields are ended by these.
    var isPlain: Bool { (address + Array(home.utf8) + Array(maildir.utf8)).allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != 0x23 /* # */ } }
}
