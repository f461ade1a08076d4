import sys
from acp_adapter.entry import main
from acp_adapter import edit_approval, permissions
from acp_adapter.session import SessionManager

ask, change = permissions.make_approval_callback, edit_approval.make_acp_edit_approval_requester
if ask.__defaults__ == (60.0,) and change.__defaults__ == (60.0, None):
    ask.__defaults__ = (86400.0,)
    change.__defaults__ = (86400.0, None)
else:
    print("holdfast: unknown approval code, left as it is:", ask.__defaults__, change.__defaults__, file=sys.stderr)

make = SessionManager._make_agent
def make_agent(self, *args, **kwargs):
    agent = make(self, *args, **kwargs)
    converse = agent.run_conversation
    def run_conversation(*args, **kwargs):
        result = converse(*args, **kwargs)
        if isinstance(result, dict) and result.get("final_response", "") is None:
            result["final_response"] = ""
        return result
    agent.run_conversation = run_conversation
    return agent
SessionManager._make_agent = make_agent

main([])
