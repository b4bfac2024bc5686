import Testing

@testable import TransfusionCoordinator

@Suite struct RemoteShellTests {
    @Test func takesSSHThatNeverAsks() {
        let shell = RemoteShell(nil, environment: [:])
        #expect(shell.agent == "ssh -o BatchMode=yes -o ConnectTimeout=5")
        #expect(shell.command("true", on: "node02").suffix(2) == ["node02", "true"])
    }

    @Test func takesWhatOpenMPIIsSetTo() {
        let environment = ["OMPI_MCA_plm_rsh_agent": "rsh -4 : ssh", "SLURM_JOB_ID": "7"]
        #expect(RemoteShell(nil, environment: environment).command("true", on: "n") == ["rsh", "-4", "n", "true"])
        #expect(RemoteShell("/opt/shell", environment: environment).agent == "/opt/shell")
    }

    @Test func takesSrunInAJobOfSlurm() {
        let shell = RemoteShell(nil, environment: ["SLURM_JOB_ID": "7"])
        #expect(shell.agent == nil)
        let command = shell.command("exit 3", on: "node02")
        #expect(command.first == "srun" && command.contains("--nodelist=node02") && command.contains("--overlap"))
        #expect(command.suffix(3) == ["sh", "-c", "exit 3"])
    }

    @Test func needsNoNetworkForThisHost() {
        #expect(RemoteShell(nil, environment: [:]).command("true", on: "localhost") == ["sh", "-c", "true"])
    }
}
