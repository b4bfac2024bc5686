internal import Foundation
public import Testing

/// A headless Chromium with one page, driven through the DevTools protocol over a pipe.
public final class Browser {
    /// Why there can be none here; nil when there can.
    public static let obstacle: Comment? =
        program == nil ? "the tests of the dashboard need a browser: install chromium-headless-shell" : nil

    private static let program = ["chromium-headless-shell", "chromium", "google-chrome"].lazy
        .compactMap { try? Command.onPath($0).path }.first

    public struct Failure: Error, CustomStringConvertible {
        public let description: String

        init(_ description: String) {
            self.description = description
        }
    }

    private let pid: pid_t
    private let commands: Int32
    private let answers: Int32
    private let directory: TemporaryDirectory
    private var received = Data()
    private var lastNumber = 0
    private var session: String?
    /// Errors of scripts, and what the page's policy has kept it from doing.
    public private(set) var complaints: [String] = []

    public init() throws {
        guard let program = Self.program else { throw Failure("there is no browser") }
        directory = try TemporaryDirectory()
        var arguments = [
            program, "--headless", "--remote-debugging-pipe", "--user-data-dir=\(directory.path)", "--disable-gpu",
            "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
        ]
        // Its sandbox refuses to be used by root.
        if geteuid() == 0 { arguments.append("--no-sandbox") }
        var toBrowser: [Int32] = [0, 0], fromBrowser: [Int32] = [0, 0]
        guard pipe(&toBrowser) == 0, pipe(&fromBrowser) == 0 else { throw Failure("there are no pipes") }
        for end in toBrowser + fromBrowser { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // It reads commands from descriptor 3 and answers on 4. Others are in the way until they have been copied.
        posix_spawn_file_actions_adddup2(&actions, toBrowser[0], 103)
        posix_spawn_file_actions_adddup2(&actions, fromBrowser[1], 104)
        posix_spawn_file_actions_adddup2(&actions, 103, 3)
        posix_spawn_file_actions_adddup2(&actions, 104, 4)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, directory.file("log"), O_WRONLY | O_CREAT, 0o600)
        for copy in [103, 104] as [Int32] { posix_spawn_file_actions_addclose(&actions, copy) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        var words = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let problem = posix_spawn(&pid, program, &actions, &attributes, &words, environ)
        close(toBrowser[0])
        close(fromBrowser[1])
        self.pid = pid
        commands = toBrowser[1]
        answers = fromBrowser[0]
        guard problem == 0 else { throw Failure("\(program): \(String(cString: strerror(problem)))") }

        let target = try call("Target.createTarget", ["url": "about:blank"])
        let attached = try call("Target.attachToTarget", ["targetId": target["targetId"] ?? "", "flatten": true])
        session = attached["sessionId"] as? String
        for domain in ["Page", "Runtime", "Log"] { try call("\(domain).enable") }
    }

    deinit {
        close(commands)
        close(answers)
        kill(-pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    public func open(_ url: String) throws { try call("Page.navigate", ["url": url]) }

    /// As a device shows the page.
    public func resize(width: Int, height: Int, isDark: Bool) throws {
        try call(
            "Emulation.setDeviceMetricsOverride",
            ["width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600])
        let scheme = ["name": "prefers-color-scheme", "value": isDark ? "dark" : "light"]
        try call("Emulation.setEmulatedMedia", ["features": [scheme]])
    }

    /// The value of an expression in the page, as JSON has it.
    public func evaluate(_ expression: String) throws -> Any? {
        let answer = try call("Runtime.evaluate", ["expression": expression, "returnByValue": true])
        return (answer["result"] as? [String: Any])?["value"]
    }

    public func text(_ selector: String) throws -> String {
        try evaluate("document.querySelector('\(selector)')?.innerText ?? ''") as? String ?? ""
    }

    public func number(_ expression: String) throws -> Double {
        (try evaluate(expression) as? NSNumber)?.doubleValue ?? .nan
    }

    /// Waits until an expression is true in the page.
    public func wait(_ expression: String, seconds: Double = 60) throws {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while Date() < deadline {
            if try evaluate(expression) as? Bool == true { return }
            usleep(100_000)
        }
        throw Failure("\(expression): not within \(seconds) s; the page says: \(try text("body")) \(complaints)")
    }

    /// The whole page as a PNG.
    public func screenshot() throws -> [UInt8] {
        let answer = try call("Page.captureScreenshot", ["format": "png", "captureBeyondViewport": true])
        guard let data = (answer["data"] as? String).flatMap({ Data(base64Encoded: $0) }) else {
            throw Failure("no screenshot")
        }
        return Array(data)
    }

    // MARK: The protocol: JSON, each message ends with a zero

    @discardableResult
    private func call(_ method: String, _ parameters: [String: Any] = [:]) throws -> [String: Any] {
        lastNumber += 1
        var message: [String: Any] = ["id": lastNumber, "method": method, "params": parameters]
        message["sessionId"] = session
        var data = try JSONSerialization.data(withJSONObject: message)
        data.append(0)
        let written = data.withUnsafeBytes { write(commands, $0.baseAddress, $0.count) }
        guard written == data.count else { throw Failure("\(method): the browser takes no commands") }
        while true {
            let answer = try next(method)
            note(answer)
            guard answer["id"] as? Int == lastNumber else { continue }
            if let error = answer["error"] { throw Failure("\(method): \(error)") }
            return answer["result"] as? [String: Any] ?? [:]
        }
    }

    private func next(_ method: String) throws -> [String: Any] {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let deadline = Date(timeIntervalSinceNow: 60)
        while true {
            if let end = received.firstIndex(of: 0) {
                let message = Data(received[..<end])
                received = Data(received[(end + 1)...])
                return try JSONSerialization.jsonObject(with: message) as? [String: Any] ?? [:]
            }
            var waiting = pollfd(fd: answers, events: Int16(POLLIN), revents: 0)
            guard Date() < deadline else { throw Failure("\(method): the browser does not answer") }
            guard poll(&waiting, 1, 1000) > 0 else { continue }
            let count = read(answers, &buffer, buffer.count)
            guard count > 0 else {
                let log = (try? String(contentsOfFile: directory.file("log"), encoding: .utf8)) ?? ""
                throw Failure("\(method): the browser has ended: \(log.suffix(1000))")
            }
            received.append(contentsOf: buffer[..<count])
        }
    }

    private func note(_ event: [String: Any]) {
        let parameters = event["params"] as? [String: Any]
        switch event["method"] as? String {
        case "Runtime.exceptionThrown": complaints.append("\(parameters?["exceptionDetails"] ?? "exception")")
        case "Log.entryAdded":
            let entry = parameters?["entry"] as? [String: Any]
            if entry?["source"] as? String == "security" { complaints.append("\(entry?["text"] ?? "")") }
        default: break
        }
    }
}
