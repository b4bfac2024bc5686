import Foundation
import Testing
import _TestUtilities

/// `tf-coord serve` below a directory that has no room, on a small file system of its own.
@Suite(
    .oneSuiteAtATime, .timeLimit(.minutes(5)),
    .enabled("this machine allows no mount namespaces") { mayMount() })
struct FullDiskTests {
    @Test func submitSaysWhatIsFull() throws {
        let temporary = try TemporaryDirectory(), dataset = try SmallDataset()
        let configuration = temporary.file("run.yaml"), root = temporary.file("runs")
        try """
        name: run
        model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 10, warmup_steps: 3}
        batch: {sequence_length: 64, global_sequences: 4}
        """.write(toFile: configuration, atomically: true, encoding: .utf8)
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        let script = """
            mount -t tmpfs -o size=1m,mode=755 none "$2" || exit 90
            "$1" serve --root "$2" --slots 1 > "$4" 2>&1 &
            for _ in $(seq 300); do "$1" hosts --root "$2" > /dev/null 2>&1 && break; sleep 0.1; done
            dd if=/dev/zero of="$2/full" bs=4k > /dev/null 2>&1
            "$1" submit "$3" --root "$2"
            echo "status $?"
            rm "$2/full"
            "$1" submit "$3" --root "$2" > /dev/null
            echo "status $?"
            kill -TERM $!; kill -TERM $!
            wait
            """
        let result = try Command.onPath("unshare").run(
            ["-rm", "sh", "-c", script, "sh", Command("tf-coord").path, root, configuration, temporary.file("log")],
            environment: ["XDG_RUNTIME_DIR": nil], within: 120)
        #expect(result.output == "status 1\nstatus 0\n", "\(result)")
        #expect(
            result.errors.contains(
                "runs.sqlite: the store of runs cannot be written: database or disk is full; make room on its disk and try again"
            ),
            "\(result.errors)")
    }
}

private func mayMount() -> Bool {
    let mount = try? Command.onPath("unshare").run(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"])
    return mount?.status == 0
}
