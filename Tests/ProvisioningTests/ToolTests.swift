// What is kept of what a program of others said, when it failed.
import Testing

@testable import Provisioning

@Suite struct ToolTests {
    @Test(arguments: [
        // mkfs: what comes last on standard error; standard output is not asked.
        ("mke2fs 1.47.0\nnot enough space\n", "Discarding device blocks\n", 1, "not enough space"),
        // mount: indented lines only add to what is said.
        ("mount: /mnt: wrong fs type.\n       dmesg(1) may have more information after failed mount system call.\n", "", 32, "mount: /mnt: wrong fs type."),
        // LVM: all lines are indented.
        ("  Rounding up.\n  Volume group \"mail\" has insufficient free space.\n", "", 5, "Volume group \"mail\" has insufficient free space."),
        // e2fsck: all is on standard output.
        ("\n \n", "Pass 1\n\nThe file system is whole.\n\n", 1, "The file system is whole."), ("", "", 5, "exit code 5"), ("", "", 256 + 9, "ended by signal 9"),
    ] as [(String, String, Int32, String)])
    func lastWords(errors: String, output: String, status: Int32, expected: String) {
        #expect(Tool.Result(status: status, output: output, errors: errors).lastWords == expected)
    }
}
