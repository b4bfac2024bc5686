import Foundation
import Testing
import _TestUtilities

/// deploy/slurm/train.sbatch, with stand-ins for `tf-coord` and `scontrol`.
@Suite(.timeLimit(.minutes(2))) struct SlurmScriptTests {
    private let temporary: TemporaryDirectory
    private let script: Command
    private static let job = ["SLURM_JOB_ID": "70", "SLURM_ARRAY_JOB_ID": nil, "SLURM_ARRAY_TASK_ID": nil]
    private static let task = ["SLURM_JOB_ID": "72", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "2"]

    init() throws {
        temporary = try TemporaryDirectory()
        let root = "/" + URL(filePath: #filePath).pathComponents.dropLast(3).dropFirst().joined(separator: "/")
        script = Command(path: "\(root)/deploy/slurm/train.sbatch")
        // Stopped by Slurm it takes a while to save; asked to it ends by itself.
        try stand(
            in: "tf-coord",
            """
            printf '%s\\n' "$@" >"$PLACE/arguments"
            trap 'sleep 0.2; exit 85' USR1
            [ -z "$END" ] || exit "$END"
            touch "$PLACE/ready"
            while :; do sleep 0.05; done
            """)
        try stand(in: "scontrol", "echo \"$@\" >\"$PLACE/requeued\"")
        try "a.yaml --run-dir /shared/a\n'my runs/b.yaml' --run-dir /shared/b --set schedule.steps=9\nc.yaml\n"
            .write(toFile: temporary.file("runs.txt"), atomically: true, encoding: .utf8)
    }

    private func stand(in name: String, _ script: String) throws {
        try "#!/bin/bash\n\(script)\n".write(toFile: temporary.file(name), atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: temporary.file(name))
    }

    private func start(_ words: [String], _ job: [String: String?], end: String? = nil) throws -> RunningCommand {
        let path = "\(temporary.path):\(ProcessInfo.processInfo.environment["PATH"] ?? "")"
        let own: [String: String?] = ["PLACE": temporary.path, "PATH": path, "END": end]
        return try Command(path: "/bin/bash").start(
            [script.path] + words, environment: own.merging(job) { $1 })
    }

    private func said(_ name: String) -> String? { try? String(contentsOfFile: temporary.file(name), encoding: .utf8) }

    @Test func aRunIsQueuedAgainWhenItsTimeIsUp() throws {
        for (words, job, arguments, name) in [
            (["my.yaml", "/shared/my"], Self.job, "run\nmy.yaml\n--run-dir\n/shared/my\n", "70"),
            (
                [temporary.file("runs.txt")], Self.task,
                "run\nmy runs/b.yaml\n--run-dir\n/shared/b\n--set\nschedule.steps=9\n", "70_2"
            ),
        ] {
            let run = try start(words, job)
            let deadline = Date(timeIntervalSinceNow: 30)
            while said("ready") == nil, run.isRunning, Date() < deadline { usleep(20_000) }
            run.send(SIGUSR1)
            #expect(try run.wait(seconds: 30).status == 85)
            #expect(said("arguments") == arguments)
            #expect(said("requeued") == "requeue \(name)\n")
            for file in ["ready", "requeued"] { try FileManager.default.removeItem(atPath: temporary.file(file)) }
        }
    }

    @Test(arguments: ["0", "1", "85"]) func aRunThatEndsByItselfIsNot(_ code: String) throws {
        #expect(try "\(start(["my.yaml", "/shared/my"], Self.job, end: code).wait(seconds: 30).status)" == code)
        #expect(said("requeued") == nil)
    }

    @Test func wrongUseIsNamed() throws {
        var third = Self.task, fourth = Self.task
        third["SLURM_ARRAY_TASK_ID"] = "3"
        fourth["SLURM_ARRAY_TASK_ID"] = "4"
        let runs = temporary.file("runs.txt")
        for (words, job, part) in [
            ([runs], third, "\(runs): line 3 is no"), ([runs], fourth, "\(runs): line 4 is no"),
            ([runs], Self.job, "usage: "), (["my.yaml", "/shared/my"], Self.task, "usage: "),
        ] {
            let result = try start(words, job).wait(seconds: 30)
            #expect(result.status == 2 && result.errors.contains(part), "\(result)")
            #expect(said("arguments") == nil)
        }
    }
}
